"""Postfix's own smtp-sink, counting: the next hop of everybody who is measured."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

_COUNT = re.compile(rb"mesg=(\d+)")


class SinkProcess:
    """One smtp-sink; `count` says how many messages it has taken."""

    def __init__(self, port: int, output: Path, *, user: str = "nobody") -> None:
        """Start it on a loopback port; `output` holds its counters."""
        program = shutil.which("smtp-sink", path="/usr/sbin:/usr/bin")
        if program is None:
            raise FileNotFoundError("smtp-sink: install Debian's postfix package")
        self.port = port
        self._output = output
        command = [program, "-c", "-u", user, f"127.0.0.1:{port}", "1000"]
        if os.geteuid() != 0:
            command = [program, "-c", f"127.0.0.1:{port}", "1000"]
        with output.open("wb") as file:
            self._process = subprocess.Popen(command, stdout=file, stderr=file)  # noqa: S603

    @property
    def pid(self) -> int:
        """Give its process id."""
        return self._process.pid

    @property
    def count(self) -> int:
        """Give the number of messages taken so far."""
        with self._output.open("rb") as file:
            file.seek(max(0, self._output.stat().st_size - 200))
            found = _COUNT.findall(file.read())
        return int(found[-1]) if found else 0

    def wait_for(self, count: int, seconds: float) -> float:
        """Wait until so many messages have come in; gives the moment (monotonic) that they had."""
        deadline = time.monotonic() + seconds
        while self.count < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the sink has {self.count} of {count} after {seconds} s")
            time.sleep(0.01)
        return time.monotonic()

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)

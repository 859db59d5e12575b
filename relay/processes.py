"""What supervisor and children agree on: names, files in the data directory, the line of life
between them.

A child gets the inherited listening sockets and one end of a socket pair. It writes `ready` on it
once it serves; when the other end closes, its supervisor is gone and it must stop, so that nobody
keeps ports and locks of a dead installation.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

READY = b"ready\n"
EXIT_CONFIG = 78  # sysexits.h EX_CONFIG: starting again will not help


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things lie under the data directory."""

    root: Path

    @property
    def run(self) -> Path:
        """Sockets and pid files: worthless once the processes are gone."""
        return self.root / "run"

    @property
    def link_socket(self) -> Path:
        """The unix socket between workers and control."""
        return self.run / "link.sock"

    @property
    def admin_socket(self) -> Path:
        """The unix socket where the operator's commands reach control."""
        return self.run / "admin.sock"

    @property
    def keyring(self) -> Path:
        """The key ring: back it up apart from everything else."""
        return self.root / "keys" / "keyring.json"

    @property
    def snapshot(self) -> Path:
        """The settings that workers start from."""
        return self.root / "snapshot" / "settings.msgpack"

    @property
    def suppressions(self) -> Path:
        """The suppression table that workers map."""
        return self.root / "snapshot" / "suppressions.table"

    @property
    def notices(self) -> Path:
        """The folder of the workers' urgent facts."""
        return self.root / "notices"

    @property
    def shared_table(self) -> Path:
        """The counters that workers share."""
        return self.run / "shared.table"

    @property
    def certificates(self) -> Path:
        """The self-signed certificate made at first start."""
        return self.root / "certificates"

    def spool(self, number: int) -> Path:
        """Give the folder of one worker's spool."""
        return self.root / "spool" / str(number)

    def pid_file(self, name: str) -> Path:
        """Give the pid file of a process."""
        return self.run / f"{name}.pid"

    def prepare(self) -> None:
        """Make the folders, readable by the owner alone; settings of existing ones are mended."""
        for folder in (self.root, self.run, self.keyring.parent, self.snapshot.parent,
                       self.notices, self.certificates, self.root / "spool"):  # fmt: skip
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root.chmod(0o700)


class Child:
    """A child process's side of the line of life, and its signals.

    The first SIGTERM (or SIGINT, or the supervisor's end) asks to stop, the second ends the
    process at once: what was acknowledged is on disk by then, as after a kill.
    """

    def __init__(
        self, life: socket.socket | None, reload: Callable[[], None] | None = None
    ) -> None:
        """Watch the line of life and the signals on the running loop; None: started by hand."""
        self._life = life
        self._reload = reload
        self.stopping = asyncio.Event()

    def watch(self) -> None:
        """Begin; needs a running loop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self._asked_to_reload)
        if self._life is not None:
            self._life.setblocking(False)
            loop.add_reader(self._life.fileno(), self._life_ended)

    def ready(self) -> None:
        """Tell the supervisor that this process serves."""
        if self._life is not None:
            with contextlib.suppress(OSError):
                self._life.send(READY)

    def _asked_to_stop(self) -> None:
        if self.stopping.is_set():
            logging.getLogger(__name__).warning("second signal: stopping at once")
            logging.shutdown()
            os._exit(1)
        self.stopping.set()

    def _asked_to_reload(self) -> None:
        if self._reload is not None:
            self._reload()

    def _life_ended(self) -> None:
        if self._life is None:
            return
        with contextlib.suppress(BlockingIOError):
            if self._life.recv(64) == b"":
                asyncio.get_running_loop().remove_reader(self._life.fileno())
                self.stopping.set()


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """Split "host:port" (IPv6 in brackets) into its parts."""
    host, _, port = endpoint.rpartition(":")
    return host.strip("[]"), int(port)

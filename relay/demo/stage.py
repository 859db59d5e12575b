"""The demo's relay: the real processes in a folder of their own, on free loopback ports, told what
to do as an operator would.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from relay.errors import WaypostError

_START_SECONDS = 60.0
_STOP_SECONDS = 40.0


class StageError(WaypostError):
    """The demo's relay did not start or stop."""


class Door(Protocol):
    """What the operator asks through."""

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        query: Mapping[str, object] | None = None,
    ) -> Any:
        """Carry out one operation."""
        ...


Reach = Callable[[Path], AbstractContextManager[Door]]


class Ports(NamedTuple):
    """Free ports of this machine, found before anybody listens."""

    submission: int
    tls: int
    inbound: int
    tracking: int
    admin: int


def free_ports() -> Ports:
    """Find ports that are free now."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in Ports._fields]
    ports = Ports(*(listener.getsockname()[1] for listener in held))
    for listener in held:
        listener.close()
    return ports


class Stage:
    """A running relay."""

    def __init__(
        self,
        folder: Path,
        smarthost: tuple[str, int],
        workers: int,
        ports: Ports,
        reach: Reach,
    ) -> None:
        """Lay out settings in `folder`; `start` starts the processes.

        `reach` opens the operator's way to the relay with these settings.
        """
        self._reach = reach
        self.submission = ("127.0.0.1", ports.submission)
        self.ledger_url = f"sqlite:///{folder / 'var' / 'ledger.sqlite'}"
        self._config = folder / "waypost.toml"
        self._config.write_text(
            _SETTINGS.format(
                data=folder / "var",
                workers=workers,
                **ports._asdict(),
                host=smarthost[0],
                port=smarthost[1],
            ),
            encoding="utf-8",
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "relay.log"

    async def start(self) -> None:
        """Start the relay and wait until it is ready; raises StageError."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("WAYPOST_")}
        environment["WAYPOST_CONFIG"] = str(self._config)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - our own program, at start
                [sys.executable, "-m", "relay", "run"],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=environment,
            )
        deadline = time.monotonic() + _START_SECONDS
        while b"Waypost is ready" not in self._log.read_bytes():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise StageError("the relay did not start; the end of its log stands above")
            await asyncio.sleep(0.1)

    async def stop(self) -> None:
        """Let the relay drain and end."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(self._process.wait, _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise StageError(f"the relay did not stop:\n{self.log_tail()}") from None

    def log_tail(self) -> str:
        """Give the last lines of the relay's log."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(line for line in lines if " INFO " not in line)[-2000:]

    def operator(self) -> AbstractContextManager[Door]:
        """Reach control as the operator does."""
        return self._reach(self._config)

    def prepare(self, tracked: str, untracked: str) -> tuple[str, str]:
        """Make an account and two sending domains, switch tracking on for one; give login and
        password.
        """
        with self.operator() as door:
            account = door.ask("POST", "/accounts", {"name": "demo"})["id"]
            for name in (tracked, untracked):
                door.ask("POST", "/domains", {"account": account, "name": name})
            door.ask("PATCH", f"/domains/{tracked}", {"unsubscribe": True})
            change = {"domains": [tracked], "opens": "on", "clicks": "on"}
            _confirmed(door, change)
            made = door.ask("POST", "/credentials", {"account": account})
        return made["credential"]["login"], made["password"]


def _confirmed(door: Door, change: dict[str, Any]) -> None:
    """Carry out a change of tracking switches: see what it does, then confirm exactly that."""
    answer = door.ask("POST", "/tracking", change)
    if not answer["confirm"]:
        raise StageError("the change of tracking switches was not offered for confirmation")
    door.ask("POST", "/tracking", {**change, "confirm": answer["confirm"]})


_SETTINGS = """\
[node]
name = "demo"
hostname = "demo.waypost.test"
data_dir = "{data}"
workers = {workers}

[submission]
listen = "127.0.0.1:{submission}"
tls_listen = "127.0.0.1:{tls}"

[inbound]
listen = "127.0.0.1:{inbound}"

[tracking]
listen = "127.0.0.1:{tracking}"
base_url = "http://127.0.0.1:{tracking}"

[admin]
listen = "127.0.0.1:{admin}"

[delivery]
mode = "smarthost"
smarthost = "{host}:{port}"
smarthost_tls = "none"
retry_first_seconds = 1.0
retry_max_seconds = 4.0
"""

"""A running relay for a test: its processes, its doors, its figures, and its end.

Guarantees: everything lies in one temporary directory; every wait is bounded and fails with the
end of the relay's log; `stop` leaves no process behind, and processes are only ever killed by the
ids that this relay wrote down or that descend from the one started here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp

from tests.harness.processes import alive, tree

ROOT = Path(__file__).parents[2]
Settings = Mapping[str, Mapping[str, object]]


class RelayEndedError(AssertionError):
    """The relay ended while it was waited for."""


class RelayUnderTest:
    """One node; use as an async context manager, or call start and stop."""

    def __init__(
        self,
        directory: Path,
        *,
        settings: Settings | None = None,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        workers: int = 1,
    ) -> None:
        """Choose ports and write the settings file; `settings` by section go over the harness's
        own.

        `prefix` is put before the command (strace, for instance); `environment` is added to ours.
        """
        self.directory = directory
        self.data_dir = directory / "var"
        self.log = directory / "relay.log"
        self.ports = dict(zip(_DOORS, _free_ports(len(_DOORS)), strict=True))
        self.workers = workers
        self.starts = 0
        self._prefix = tuple(prefix)
        self._handed: tuple[int, ...] = ()
        self._environment = dict(environment or {})
        self._process: asyncio.subprocess.Process | None = None
        self._known: set[int] = set()
        directory.mkdir(parents=True, exist_ok=True)
        self.config = directory / "waypost.toml"
        self.config.write_text(_toml(self._settings(settings or {})), encoding="utf-8")

    async def __aenter__(self) -> RelayUnderTest:
        """Start."""
        try:
            await self.start()
        except BaseException:
            self.kill_all()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop, and kill what does not."""
        await self.stop()

    def address(self, door: str) -> tuple[str, int]:
        """Give the address of a door: submission, tls, plain, inbound, tracking, admin, sandbox."""
        return "127.0.0.1", self.ports[door]

    def hand_over(self, listening: Sequence[socket.socket]) -> None:
        """Start from now on as systemd would: with these sockets, from descriptor 3 on."""
        self._handed = tuple(each.fileno() for each in listening)
        self._prefix = (sys.executable, "-c", _AS_SYSTEMD, json.dumps(self._handed))

    @property
    def pid(self) -> int:
        """Give the id of the process that was started (the supervisor, or what the prefix runs)."""
        if self._process is None:
            raise AssertionError("the relay is not running")
        return self._process.pid

    def pids(self) -> dict[str, int]:
        """Give the living processes by name, as the relay wrote them down."""
        found = {}
        for file in (self.data_dir / "run").glob("*.pid"):
            with contextlib.suppress(OSError, ValueError):
                pid = int(file.read_text())
                if alive(pid):
                    found[file.stem] = pid
        self._known.update(found.values())
        return found

    async def start(self, seconds: float = 60.0) -> None:
        """Start the relay and wait until it says that it is ready."""
        await self.launch()
        await self.until(self.is_ready, "the relay to be ready", seconds)
        self.pids()

    async def launch(self) -> None:
        """Start the relay."""
        self.starts += 1
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._prefix,
                *(sys.executable, "-m", "relay", "--config", str(self.config), "run"),
                cwd=ROOT,
                env={**os.environ, "WAYPOST_CONFIG": str(self.config), **self._environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=self._handed,
            )

    async def is_ready(self) -> bool:
        """Ask /readyz; raises RelayEndedError when the relay has ended instead."""
        if self._process is not None and self._process.returncode is not None:
            raise RelayEndedError(f"the relay ended with {self._process.returncode}\n{self.tail()}")
        try:
            status, _ = await self.ask("GET", "/readyz")
        except (OSError, aiohttp.ClientError, TimeoutError):
            return False
        return status == 200

    async def stop(self, seconds: float = 45.0) -> int:
        """Ask it to end with SIGTERM; gives the exit status, -9 when it had to be killed."""
        process = self._process
        if process is None:
            return 0
        self.pids()
        self._known.update(tree(process.pid))
        if process.returncode is None:
            supervisor = self.pids().get("supervisor", process.pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(supervisor, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await process.wait()
        self.kill_all()
        status = await process.wait()
        self._process = None
        return status

    async def crash(self) -> None:
        """Kill everything at once with SIGKILL, as a power switch would end it, and forget the
        process.
        """
        self.kill_all()
        if self._process is not None:
            await self._process.wait()
            self._process = None

    async def ended(self) -> None:
        """Wait, without a limit, until the started process has ended."""
        if self._process is not None:
            await self._process.wait()

    async def gone(self, seconds: float = 30.0) -> None:
        """Wait until the started process and all its children have ended by themselves."""
        process = self._process
        if process is None:
            return

        async def ended() -> bool:
            return not self._left()

        async with asyncio.timeout(seconds):
            await process.wait()
        try:
            await self.until(ended, "all processes to end", seconds)
        except AssertionError as problem:
            raise AssertionError(f"left over: {self._left()}\n{problem}") from None
        self._process = None

    def _left(self) -> dict[int, str]:
        """Give what still runs, by id, with its arguments."""
        self.pids()
        return {pid: _command(pid) for pid in self._known if alive(pid)}

    def kill_all(self) -> None:
        """Kill what is left, by id."""
        pids = {*self.pids().values(), *self._known}
        if self._process is not None and self._process.returncode is None:
            pids.update(tree(self._process.pid))
        for pid in pids:
            if alive(pid) and _is_ours(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    async def ask(
        self, method: str, path: str, body: object = None, *, seconds: float = 10.0
    ) -> tuple[int, Any]:
        """Ask the operator's door (unix socket, no key needed); gives status and decoded JSON, or
        text.
        """
        connector = aiohttp.UnixConnector(str(self.data_dir / "run" / "admin.sock"))
        timeout = aiohttp.ClientTimeout(total=seconds)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.request(method, f"http://localhost{path}", json=body) as answer,
        ):
            if "json" in answer.content_type:
                return answer.status, await answer.json()
            return answer.status, await answer.text()

    async def until(
        self, holds: Callable[[], Any], what: str, seconds: float = 60.0, *, every: float = 0.05
    ) -> None:
        """Wait until an asynchronous condition holds; raises AssertionError with the log when it
        does not.
        """
        deadline = time.monotonic() + seconds
        while not await holds():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {seconds} s for {what}\n{self.tail()}")
            await asyncio.sleep(every)

    def tail(self, octets: int = 6000) -> str:
        """Give the end of the relay's log."""
        with contextlib.suppress(OSError):
            return self.log.read_bytes()[-octets:].decode("utf-8", "replace")
        return ""

    def _settings(self, over: Settings) -> dict[str, dict[str, object]]:
        at = {door: f"127.0.0.1:{port}" for door, port in self.ports.items()}
        settings: dict[str, dict[str, object]] = {
            "node": {"data_dir": str(self.data_dir), "workers": self.workers},
            "submission": {
                "listen": at["submission"],
                "tls_listen": at["tls"],
                "plain_listen": at["plain"],
                "max_messages_per_connection": 1_000_000,
            },
            "inbound": {"listen": at["inbound"]},
            "tracking": {
                "listen": at["tracking"],
                "base_url": f"http://{at['tracking']}",
                "allow_private_hosts": True,
            },
            "admin": {"listen": at["admin"]},
            "sandbox": {"listen": at["sandbox"], "delay_seconds": 0.0},
            "delivery": {"retry_first_seconds": 0.2, "retry_max_seconds": 1.0},
            "spool": {"disk_reserve_bytes": 0},
        }
        for section, values in over.items():
            settings.setdefault(section, {}).update(values)
        return settings


_AS_SYSTEMD = """
import fcntl, json, os, sys
handed = json.loads(sys.argv[1])
high = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 100) for each in handed]
for each in handed:
    os.close(each)
for number, each in enumerate(high, 3):
    os.dup2(each, number)
os.environ.update(LISTEN_FDS=str(len(handed)), LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""

_DOORS = ("submission", "tls", "plain", "inbound", "tracking", "admin", "sandbox")


def _free_ports(count: int) -> list[int]:
    """Find ports that are free now; held all at once so that they differ."""
    with contextlib.ExitStack() as held:
        ports = []
        for _ in range(count):
            probe = held.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            ports.append(int(probe.getsockname()[1]))
        return ports


def _is_ours(pid: int) -> bool:
    """Tell whether a process is a relay's: an id may have been given to somebody else meanwhile."""
    command = _command(pid)
    return "relay" in command or "strace" in command


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def _toml(settings: Mapping[str, Mapping[str, object]]) -> str:
    lines = []
    for section, values in settings.items():
        lines.append(f"[{section}]")
        lines += (f"{key} = {_value(value)}" for key, value in values.items())
    return "\n".join([*lines, ""])


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(one) for one in value) + "]"
    return str(value)

"""The main process: opens the listening sockets, starts the children, restarts what dies, stops in
order.

Guarantees: the sockets are bound before any child starts and stay open over a child's restart, so
that no connection is refused meanwhile; SIGTERM closes them, drains the workers first, then
control; a second SIGTERM kills; a supervisor that is killed leaves no child behind (each watches
its line of life). It keeps no state and opens no database.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType

from relay.config import Config
from relay.errors import EXIT_CONFIG, ConfigError
from relay.layout import Layout, split_endpoint
from relay.process.handed_over import HandedOver
from relay.process.life import READY

_log = logging.getLogger(__name__)

_BACKLOG = 1024
_BIND_SECONDS = 20.0  # a killed predecessor's workers may take a moment to let go
_DRAIN_SECONDS = 30.0
_RESTART_SECONDS = (0.05, 5.0)
_HEALTHY_SECONDS = 10.0
_HOPELESS_STARTS = 10  # of one child before the relay was ever ready: a restart will not mend it


@dataclass(slots=True)
class Process:
    """One child: how to start it, and what became of it last time."""

    name: str
    role: str
    index: int
    sockets: Mapping[str, socket.socket]
    popen: subprocess.Popen[bytes] | None = None
    life: socket.socket | None = None
    ready: bool = False
    started: float = 0.0
    pause: float = _RESTART_SECONDS[0]
    due: float = 0.0  # monotonic moment of the next start
    restarts: int = field(default=-1)


def open_sockets(config: Config, handed: HandedOver) -> dict[str, socket.socket]:
    """Bind and listen on every configured door that was not handed over;

    raises ConfigError naming the one that cannot be had.
    """
    doors = {
        "submission": config.submission.listen,
        "submission_tls": config.submission.tls_listen,
        "submission_plain": config.submission.plain_listen,
        "inbound": config.inbound.listen,
        "tracking": config.tracking.listen,
        "admin": config.admin.listen,
    }
    if config.delivery.mode == "sandbox":
        doors["sandbox"] = config.sandbox.listen
    deadline = time.monotonic() + _BIND_SECONDS
    sockets = {
        name: handed.take(at) or _bind(name, at, deadline) for name, at in doors.items() if at
    }
    for left in handed.close():
        _log.warning("a socket was handed over that no setting names: %s", left)
    return sockets


def _bind(name: str, endpoint: str, deadline: float) -> socket.socket:
    host, port = split_endpoint(endpoint)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    waited = False
    while True:
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(_BACKLOG)
        except OSError as problem:
            listener.close()
            if problem.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise ConfigError(
                    f"{name}: cannot listen on {endpoint}: {problem.strerror}"
                ) from None
            if not waited:
                _log.warning("waiting for %s, which another process listens on", endpoint)
            waited = True
            time.sleep(0.1)
            continue
        listener.setblocking(False)
        return listener


class Supervisor:
    """Runs the children until it is told to stop."""

    def __init__(
        self,
        config: Config,
        config_file: str,
        sockets: Mapping[str, socket.socket],
        on_ready: Callable[[float], None],
        on_stop: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the settings, the file they came from ("" without one), the bound sockets, and whom
        to tell of readiness and of the order to stop.
        """
        self._layout = Layout(config.data_dir)
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._began = time.monotonic()
        self._signals: list[int] = []
        self._stopping = 0.0
        self._told = False
        self._failed = 0
        self._config_file = config_file
        worker_doors = {k: v for k, v in sockets.items() if k not in ("admin", "sandbox")}
        self._processes = [
            Process("control", "control", 0, {"admin": sockets["admin"]}),
            *(
                Process(f"worker-{index}", "worker", index, worker_doors)
                for index in range(config.workers)
            ),
        ]
        if "sandbox" in sockets:
            self._processes.append(
                Process("sandbox", "sandbox", 0, {"sandbox": sockets["sandbox"]})
            )

    def run(self) -> int:
        """Serve until stopped; give the exit status."""
        selector = selectors.DefaultSelector()
        wake_read, wake_write = socket.socketpair()
        wake_read.setblocking(False)
        wake_write.setblocking(False)
        signal.set_wakeup_fd(wake_write.fileno())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._note_signal)
        selector.register(wake_read, selectors.EVENT_READ)
        self._note_pid("supervisor", os.getpid())
        try:
            while not self._finished():
                self._start_due(selector)
                for key, _ in selector.select(self._patience()):
                    if key.fileobj is wake_read:
                        with contextlib.suppress(BlockingIOError):
                            wake_read.recv(4096)
                    else:
                        self._hear(selector, key.data)
                self._handle_signals()
                self._reap(selector)
        finally:
            signal.set_wakeup_fd(-1)
            self._layout.pid_file("supervisor").unlink(missing_ok=True)
        return self._failed

    def _note_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(number)

    def _handle_signals(self) -> None:
        while self._signals:
            number = self._signals.pop(0)
            if number in (signal.SIGTERM, signal.SIGINT):
                self._stop(at_once=bool(self._stopping))
            elif number == signal.SIGHUP:
                self._send(signal.SIGHUP, self._processes)

    def _stop(self, *, at_once: bool) -> None:
        if not self._stopping:
            self._stopping = time.monotonic()
            self._on_stop()
        for process in self._processes:  # who comes now is refused, not left waiting
            for listening in process.sockets.values():
                listening.close()
        if at_once:
            _log.warning("stopping at once")
            self._send(signal.SIGKILL, self._processes)
        else:
            _log.info("draining")
            self._send(signal.SIGTERM, self._stage())

    def _stage(self) -> list[Process]:
        """Give what is to end next:

        workers while any runs (control still takes their facts), then the rest.
        """
        workers = [p for p in self._processes if p.name.startswith("worker-") and p.popen]
        return workers or [p for p in self._processes if p.popen]

    def _send(self, number: int, to: Sequence[Process]) -> None:
        for process in to:
            if process.popen is not None and process.popen.poll() is None:
                process.popen.send_signal(number)

    def _start_due(self, selector: selectors.BaseSelector) -> None:
        if self._stopping:
            return
        for process in self._processes:
            if process.popen is None and time.monotonic() >= process.due:
                self._start(process, selector)

    def _start(self, process: Process, selector: selectors.BaseSelector) -> None:
        ours, theirs = socket.socketpair()
        handed = {name: sock.fileno() for name, sock in process.sockets.items()}
        handed["life"] = theirs.fileno()
        process.popen = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
            [
                *(sys.executable, "-m", "relay", "_child"),
                *(process.role, str(process.index), self._config_file, json.dumps(handed)),
            ],
            pass_fds=list(handed.values()),
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the supervisor, which then drains in order
        )
        theirs.close()
        ours.setblocking(False)
        process.life, process.ready, process.started = ours, False, time.monotonic()
        process.restarts += 1
        selector.register(ours, selectors.EVENT_READ, process)
        self._note_pid(process.name, process.popen.pid)

    def _note_pid(self, name: str, pid: int) -> None:
        file = self._layout.pid_file(name)
        file.touch(mode=0o600)
        file.write_text(f"{pid}\n", encoding="ascii")

    def _hear(self, selector: selectors.BaseSelector, process: Process) -> None:
        if process.life is None:
            return
        try:
            said = process.life.recv(64)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if not said:
            selector.unregister(process.life)
            process.life.close()
            process.life = None
        elif READY in said:
            process.ready = True
            if not self._told and all(p.ready for p in self._processes):
                self._told = True
                self._on_ready(time.monotonic() - self._began)

    def _reap(self, selector: selectors.BaseSelector) -> None:
        for process in self._processes:
            if process.popen is None or process.popen.poll() is None:
                continue
            status = process.popen.returncode
            process.popen = None
            self._layout.pid_file(process.name).unlink(missing_ok=True)
            if process.life is not None:
                selector.unregister(process.life)
                process.life.close()
                process.life = None
            if self._stopping:
                self._next_stage()
            elif status == EXIT_CONFIG:
                _log.error("%s cannot start; stopping", process.name)
                self._failed = EXIT_CONFIG
                self._stop(at_once=False)
            else:
                self._plan_restart(process, status)

    def _plan_restart(self, process: Process, status: int) -> None:
        lived = time.monotonic() - process.started
        process.pause = (
            _RESTART_SECONDS[0]
            if lived > _HEALTHY_SECONDS
            else min(process.pause * 2, _RESTART_SECONDS[1])
        )
        process.due = time.monotonic() + process.pause
        if not self._told and process.restarts >= _HOPELESS_STARTS:
            _log.error("%s does not start (last status %d); stopping", process.name, status)
            self._failed = 1
            self._stop(at_once=False)
            return
        _log.error("%s ended with status %d; starting it again", process.name, status)

    def _next_stage(self) -> None:
        if not any(p.popen for p in self._processes if p.name.startswith("worker-")):
            self._send(signal.SIGTERM, self._stage())

    def _finished(self) -> bool:
        if not self._stopping:
            return False
        alive = [p for p in self._processes if p.popen]
        if alive and time.monotonic() > self._stopping + _DRAIN_SECONDS:
            _log.error("%s did not stop in time", ", ".join(p.name for p in alive))
            self._failed = self._failed or 1
            self._send(signal.SIGKILL, alive)
            for process in alive:
                if process.popen is not None:
                    process.popen.wait()
            return True
        return not alive

    def _patience(self) -> float | None:
        if self._stopping:
            return 0.2
        due = [p.due for p in self._processes if p.popen is None]
        return max(0.0, min(due) - time.monotonic()) if due else None

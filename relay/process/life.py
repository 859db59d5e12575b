"""What supervisor and children agree on: names, files in the data directory, the line of life
between them.

A child gets the inherited listening sockets and one end of a socket pair. It writes `ready` on it
once it serves; when the other end closes, its supervisor is gone and it must stop, so that nobody
keeps ports and locks of a dead installation. It hears of that in a thread of its own, whatever its
loop is doing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable

from relay.errors import WaypostError

READY = b"ready\n"
ORPHAN_SECONDS = 12  # less than a new supervisor waits for the ports and locks of an old one
_HASTE_SECONDS = 2.0  # after a supervisor's death a new one waits for what its children hold


class StoppedEarlyError(WaypostError):
    """The process was asked to stop before it served."""


class Child:
    """A child process's side of the line of life, and its signals.

    The first SIGTERM (or SIGINT, or the supervisor's end) asks to stop, the second ends the
    process at once: what was acknowledged is on disk by then, as after a kill.
    """

    def __init__(self, life: socket.socket | None) -> None:
        """Watch the line of life and the signals on the running loop; None: started by hand."""
        self._life = life
        self.reload: Callable[[], None] | None = None  # on SIGHUP
        self.stopping = asyncio.Event()
        self._orphaned = False

    def watch(self) -> None:
        """Begin; needs a running loop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self._asked_to_reload)
        if self._life is not None:
            self._life.setblocking(True)
            outliving = threading.Thread(
                target=self._outlive, args=(self._life, loop), name="life", daemon=True
            )
            outliving.start()

    def go_on(self) -> None:
        """Raise StoppedEarlyError if there is no point in starting up any further."""
        if self.stopping.is_set():
            raise StoppedEarlyError("asked to stop while starting")

    def ready(self) -> None:
        """Tell the supervisor that this process serves."""
        if self._life is not None:
            with contextlib.suppress(OSError):
                self._life.send(READY)

    def patience(self, seconds: float) -> float:
        """Say how long to wait for others while stopping, where it would be `seconds` usually."""
        return min(seconds, _HASTE_SECONDS) if self._orphaned else seconds

    def _asked_to_stop(self) -> None:
        if self.stopping.is_set():
            logging.getLogger(__name__).warning("second signal: stopping at once")
            logging.shutdown()
            os._exit(1)
        self.stopping.set()

    def _asked_to_reload(self) -> None:
        if self.reload is not None:
            self.reload()

    def _outlive(self, life: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for the supervisor's end, then ask to stop.

        Not with the loop's reader: a supervisor that dies with our `ready` unread resets the
        connection, at which libuv stops looking, and the loop may be blocked besides.
        """
        with contextlib.suppress(OSError):
            while life.recv(64):
                pass
        self._orphaned = True
        # An orphan that hangs would keep ports and spools from the next start: the kernel ends it,
        # whatever its loop is doing. What was acknowledged is on disk.
        signal.alarm(ORPHAN_SECONDS)
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            loop.call_soon_threadsafe(self.stopping.set)

"""One coarse timer for all connections of a process, in place of a timer per command.

A connection states until when it waits; `Deadlines` looks at all of them every `tick` seconds and
tells those whose time is over. The cost per command is one assignment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from relay.delivery.outgoing import Stage

TIMEOUTS: Mapping[Stage, float] = {  # seconds; RFC 5321 section 4.5.3.2
    Stage.GREETING: 300.0,
    Stage.EHLO: 300.0,
    Stage.STARTTLS: 120.0,
    Stage.AUTH: 120.0,
    Stage.MAIL: 300.0,
    Stage.RCPT: 300.0,
    Stage.DATA: 120.0,
    Stage.DOT: 600.0,
}


class Waiting(Protocol):
    """Something that is looked at every tick."""

    def tick(self, now: float) -> None:
        """Compare `now` (monotonic seconds) with the own deadline and act."""
        ...


class Deadlines:
    """The shared timer; runs only while somebody waits."""

    def __init__(self, *, tick: float = 1.0) -> None:
        """Look every `tick` seconds."""
        self._tick = tick
        self._waiting: set[Waiting] = set()
        self._handle: asyncio.TimerHandle | None = None

    def add(self, waiting: Waiting) -> None:
        """Look at this one from now on."""
        self._waiting.add(waiting)
        if self._handle is None:
            self._handle = asyncio.get_running_loop().call_later(self._tick, self._look)

    def discard(self, waiting: Waiting) -> None:
        """Look at this one no more."""
        self._waiting.discard(waiting)
        if not self._waiting and self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _look(self) -> None:
        self._handle = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for waiting in tuple(self._waiting):
            waiting.tick(now)
        if self._waiting and self._handle is None:
            self._handle = loop.call_later(self._tick, self._look)

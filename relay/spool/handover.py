"""From the event loop to the writer thread: what gathers in one turn of the loop goes in one piece.

Urgent work goes at the end of the turn that brought it, work that can wait a moment later with
whatever has joined it by then; order is kept between the two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from relay.errors import StorageError
from relay.spool.database import Database
from relay.spool.group import Group
from relay.spool.work import Reading, Work, Writing
from relay.spool.writer import Committed, Writer

T = TypeVar("T")


class Handover:
    """Gathers work; belongs to the event loop's thread."""

    def __init__(self, writer: Writer, delay: float) -> None:
        """`delay` is how long work that is not urgent may wait, seconds."""
        self._writer = writer
        self._delay = delay
        self._loop: asyncio.AbstractEventLoop | None = None
        self._flushing = False
        self._timer: asyncio.TimerHandle | None = None
        self.work = Work()
        self.closed = False

    def start(self, tell: Callable[[Committed], None]) -> None:
        """Start the writer; `tell` hears in the running loop of every group commit."""
        self._loop = asyncio.get_running_loop()
        self._writer.attach(self._loop, tell)
        self._writer.start()

    def close(self) -> None:
        """Hand over what is left and let the writer end after it."""
        self.closed = True
        self._flush()
        self._writer.put(None)

    def future(self) -> asyncio.Future[Any]:
        """Give a future of the loop; raises StorageError unless started and not closed."""
        if self._loop is None or self.closed:
            raise StorageError("the spool is closed")
        return self._loop.create_future()

    def read(self, job: Callable[[Database], T]) -> asyncio.Future[T]:
        """Ask the database."""
        future: asyncio.Future[T] = self.future()
        self.work.reading.append(Reading(job, future))
        self.soon()
        return future

    def write(self, job: Callable[[Group], T], *, urgent: bool = True) -> asyncio.Future[T]:
        """Change something within the next group commit."""
        future: asyncio.Future[T] = self.future()
        self.work.writing.append(Writing(job, future))
        if urgent:
            self.soon()
        else:
            self.later()
        return future

    def soon(self) -> None:
        """Hand over at the end of this turn of the loop."""
        if not self._flushing and self._loop is not None:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def later(self) -> None:
        """Hand over after the delay, or with what is urgent before that."""
        if not self._flushing and self._timer is None and self._loop is not None:
            self._timer = self._loop.call_later(self._delay, self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        work, self.work = self.work, Work()
        self._writer.put(work)

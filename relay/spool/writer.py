"""The one thread that writes a spool: takes what has gathered, commits it, tells everybody.

Guarantees: futures are resolved after COMMIT returned, all of a group by one call into the loop.
While a group is being synced the next one gathers, so groups grow with the load and an idle spool
commits at once. A full disk fails new mail with SpoolFullError and keeps settlements to be written
later; any other error of the disk fails everything, for good: after a failed fsync nobody knows
what is on disk, so nothing is tried again and the process has to start anew.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import queue
import threading
import time
from collections.abc import Callable

from relay.clock import Clock
from relay.errors import SpoolFullError, StorageError
from relay.spool.database import Database
from relay.spool.group import Group
from relay.spool.index import Index
from relay.spool.options import SpoolOptions
from relay.spool.protocol import Batch, RecipientsKept
from relay.spool.segments import Segments
from relay.spool.space import Space
from relay.spool.work import Accepting, Future, Work

log = logging.getLogger(__name__)

_FULL = (errno.ENOSPC, errno.EDQUOT)

Answer = tuple[Future, object, BaseException | None]


class Committed:
    """What the event loop is told about one group."""

    __slots__ = ("accepted", "answers", "batch", "gone", "refused", "settled")

    def __init__(self) -> None:
        self.accepted: list[Accepting] = []
        self.refused: list[tuple[Accepting, Exception]] = []
        self.answers: list[Answer] = []
        self.batch: Batch | None = None
        self.gone: list[int] = []
        self.settled = 0


class Writer(threading.Thread):
    """Owns database, segments and index from `start` to its end."""

    def __init__(
        self,
        database: Database,
        segments: Segments,
        index: Index,
        options: SpoolOptions,
        clock: Clock,
        space: Space,
        idle: Callable[[Writer], bool],
    ) -> None:
        """`idle` does some housekeeping and says whether there is more."""
        super().__init__(name="spool", daemon=True)
        self.database = database
        self.segments = segments
        self.index = index
        self.options = options
        self.clock = clock
        self.space = space
        self.failure: BaseException | None = None
        self.slowest_commit = 0.0  # seconds; whoever reads it sets it back
        self.recipients: RecipientsKept | None = None
        self._idle = idle
        self._inbox: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tell: Callable[[Committed], None] | None = None
        self._later: Work = Work()  # settlements that found the disk full

    def attach(self, loop: asyncio.AbstractEventLoop, tell: Callable[[Committed], None]) -> None:
        """Say whom to tell; before `start`."""
        self._loop, self._tell = loop, tell

    def put(self, work: Work | None) -> None:
        """Hand work over; None ends the thread after what came before."""
        self._inbox.put(work)

    def run(self) -> None:
        """Commit group after group until told to end."""
        while True:
            work, ending = self._gather()
            committed = Committed()
            try:
                self._handle(work, committed)
            except Exception as error:  # noqa: BLE001 - the border of the thread: nobody may wait for ever
                self._fail(error, work, committed)
            self._report(committed)
            if ending:
                break
        self._close()

    # -- one group -------------------------------------------------------------------------

    def _gather(self) -> tuple[Work, bool]:
        """Wait for work, then take what else is there, up to the bounds of a group."""
        work, self._later = self._later, Work()
        timeout = 0.2 if work.settling else None  # the disk was full: look again
        while timeout is None and self.failure is None and self._inbox.empty() and self._step():
            pass
        try:
            first = self._inbox.get(timeout=timeout)
        except queue.Empty:
            return work, False
        while first is not None:
            work.add(first)
            if work.size() >= self.options.group_size or work.octets >= self.options.group_bytes:
                return work, False
            try:
                first = self._inbox.get_nowait()
            except queue.Empty:
                return work, False
        return work, True

    def _step(self) -> bool:
        try:
            return self._idle(self)
        except (StorageError, OSError) as error:
            self._turn(error)
            self._report(Committed())
            return False

    def _handle(self, work: Work, committed: Committed) -> None:
        if self.failure is not None:
            raise StorageError(f"the spool has failed: {self.failure}")
        self.space.look()
        for reading in work.reading:
            try:
                committed.answers.append((reading.future, reading.job(self.database), None))
            except (StorageError, LookupError, ValueError) as error:
                committed.answers.append((reading.future, None, error))
        if not work.writes():
            return
        try:
            self._tell_recipients(work, committed)
            if work.writes():
                self._commit(work, committed)
        except SpoolFullError as error:
            if self.recipients is not None and work.accepting:
                self.recipients.take_back()
            self._without_mail(work, committed, error)
        if self.database.wal_size() > self.options.checkpoint_bytes:
            self.checkpoint()

    def _tell_recipients(self, work: Work, committed: Committed) -> None:
        """Do what comes before accepting. Only the disk of segments and database is ours to judge:
        whatever else goes wrong there refuses new mail, and the rest of the group is written.
        """
        told = [a.recipients for a in work.accepting if a.recipients is not None]
        if self.recipients is None or not told:
            return
        try:
            self.recipients.write(told)
        except OSError as error:
            if error.errno in _FULL:
                raise SpoolFullError("no space left for the recipients of deliveries") from error
            log.warning("new mail is refused: recipients of deliveries cannot be kept: %s", error)
            refusal = StorageError(f"the recipients of deliveries cannot be kept: {error}")
            refusal.__cause__ = error
            committed.refused += [(a, refusal) for a in work.accepting]
            work.accepting = []

    def _without_mail(self, work: Work, committed: Committed, error: SpoolFullError) -> None:
        """Refuse what is new, then try to end claims and run jobs, which free space."""
        self.space.found_full()
        self.segments.release()  # and the log starts from the front, in space it has already
        self.checkpoint()
        committed.refused += [(a, error) for a in work.accepting]
        committed.answers += [(future, None, error) for future in work.recorded]
        kept = Work(settling=work.settling, settled=work.settled, writing=work.writing)
        work.accepting, work.recorded, work.events = [], [], []
        try:
            self._commit(kept, committed)
        except SpoolFullError as again:
            for writing in work.writing:
                committed.answers.append((writing.future, None, again))
            self._later = Work(settling=work.settling, settled=work.settled)

    def _commit(self, work: Work, committed: Committed) -> None:
        """Write one transaction; a job that raises is left out and the rest written again."""
        began = time.perf_counter()
        while True:
            group = Group(self.database, self.segments, self.index, self.clock())
            answers: list[Answer] = []
            try:
                broken = self._write(group, work, answers)
            except OSError as error:
                self._undo()
                if error.errno in _FULL:
                    raise SpoolFullError(f"no space left for {self.segments.directory}") from error
                raise
            except SpoolFullError:
                self._undo()
                raise
            if broken is None:
                break
            self._undo()
            index, error_of_job = broken
            committed.answers.append((work.writing.pop(index).future, None, error_of_job))
        self.slowest_commit = max(self.slowest_commit, time.perf_counter() - began)
        group.apply()
        self.segments.keep()
        for number in group.dead_segments:
            self.segments.remove(number)
        committed.batch = group.batch
        committed.gone += group.gone()
        committed.settled += len(work.settling)
        committed.accepted += work.accepting
        committed.answers += [(future, None, None) for future in work.settled]
        committed.answers += [(future, None, None) for future in work.recorded]
        committed.answers += answers

    def _write(
        self, group: Group, work: Work, answers: list[Answer]
    ) -> tuple[int, Exception] | None:
        self.database.begin()
        group.write(work)
        for index, writing in enumerate(work.writing):
            try:
                answers.append((writing.future, writing.job(group), None))
            except (StorageError, OSError):
                raise
            except Exception as error:  # noqa: BLE001 - a caller's job: it is told, the rest goes on
                return index, error
        self.segments.sync()
        group.finish()
        self.database.commit()
        return None

    def _undo(self) -> None:
        self.database.rollback()
        self.segments.undo()

    def write_alone(self, job: Callable[[Group], object]) -> None:
        """Run one job of our own in a transaction of its own."""
        group = Group(self.database, self.segments, self.index, self.clock())
        try:
            self.database.begin()
            job(group)
            self.segments.sync()
            group.finish()
            self.database.commit()
        except SpoolFullError:
            self._undo()
            raise
        group.apply()
        self.segments.keep()
        for number in group.dead_segments:
            self.segments.remove(number)

    def checkpoint(self) -> None:
        """Copy the write-ahead log into the database, so that it starts again from the front."""
        try:
            self.database.checkpoint()
        except SpoolFullError:
            log.warning("no space to copy the write-ahead log of %s", self.database.path)

    # -- the end ---------------------------------------------------------------------------

    def _turn(self, error: BaseException) -> None:
        if self.failure is None and not isinstance(error, SpoolFullError):
            self.failure = error
            log.critical("spool %s failed: %s", self.database.path.parent, error)

    def _fail(self, error: Exception, work: Work, committed: Committed) -> None:
        """Turn the spool failed and tell everybody in the group."""
        self._turn(error)
        told = {id(answer[0]) for answer in committed.answers}
        told.update(id(a.future) for a in committed.accepted)
        told.update(id(a.future) for a, _ in committed.refused)
        failure = StorageError(f"the spool has failed: {error}")
        failure.__cause__ = error
        committed.refused += [(a, failure) for a in work.accepting if id(a.future) not in told]
        committed.answers += [(f, None, failure) for f in work.futures() if id(f) not in told]

    def _report(self, committed: Committed) -> None:
        if self._loop is None or self._tell is None:
            return
        try:
            self._loop.call_soon_threadsafe(self._tell, committed)
        except RuntimeError:  # the loop is closed: nobody waits any more
            log.debug("the event loop ended before the spool did")

    def _close(self) -> None:
        try:
            if self.failure is None:
                self.database.checkpoint("TRUNCATE")
            else:
                self.database.rollback()
            self.database.close()
            self.segments.close()
        except (StorageError, OSError) as error:
            log.warning("closing the spool: %s", error)

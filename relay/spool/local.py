"""The spool of one worker: the face towards the event loop.

Guarantees what `protocol.Spool` says. Nothing here touches the disk: work gathers during one turn
of the loop and goes to the writer thread; contents are read by a reader thread. `close` leaves
everything on disk and gives the lock back; what was claimed then waits as after a crash.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType

from relay.clock import Clock, now
from relay.errors import SpoolFullError, StorageError
from relay.ids import IdSource
from relay.message import Delivery, Disposition, Message, Settlement, State
from relay.spool import compaction, edits, queries, record, recovery
from relay.spool.cache import ContentCache
from relay.spool.contents import Contents
from relay.spool.desk import Desk, Totals
from relay.spool.files import DiskFiles, Files
from relay.spool.handover import Handover
from relay.spool.lock import DirectoryLock
from relay.spool.options import SpoolOptions
from relay.spool.outbox import Outbox
from relay.spool.protocol import Due, IllegalMoveError, Recipients, RecipientsKept
from relay.spool.segments import Segments
from relay.spool.space import Space
from relay.spool.work import Accepting
from relay.spool.writer import Committed, Writer

_CLAIMED = State.CLAIMED  # members of an enumeration are looked up slowly


def open_spool(
    path: Path,
    number: int,
    options: SpoolOptions | None = None,
    *,
    clock: Clock = now,
    files: Files | None = None,
) -> LocalSpool:
    """Lock and open a spool directory, made where missing, and recover what a crash left.

    Raises SpoolHeldError (somebody works on it), StorageError (unreadable, newer, another's),
    OSError (no file of it can be made or locked: a read-only file system).
    Blocks on the disk: call it before the loop runs, or in a thread. Then use the spool with
    `async with`, or `start` and `close`.
    """
    options = options or SpoolOptions()
    files = files or DiskFiles()
    recovery.make_directories(path, files)
    lock = DirectoryLock(path)
    try:
        database = recovery.open_database(path, number, options)
        segments = Segments(
            path / "segments", files, limit=options.segment_bytes, sync=options.sync
        )
        try:
            index = recovery.recover(database, segments, options, clock())
        except BaseException:
            database.close()
            raise
    except BaseException:
        lock.release()
        raise
    space = Space(path, options.disk_reserve)
    idle = compaction.Housekeeping(options)
    writer = Writer(database, segments, index, options, clock, space, idle)
    incarnation = str((database.row("SELECT value FROM meta WHERE key = 'incarnation'") or [""])[0])
    ids = IdSource(number, above=index.last_id, clock=clock)
    return LocalSpool(path, incarnation, ids, writer, lock)


class LocalSpool:
    """See `protocol.Spool`. All methods belong to the event loop's thread, once started."""

    def __init__(
        self, path: Path, incarnation: str, ids: IdSource, writer: Writer, lock: DirectoryLock
    ) -> None:
        """Take over what `open_spool` has put together."""
        self.path = path
        self.incarnation = incarnation
        self.number = ids.spool_number
        self.take_ids = ids.take
        self.settling = 0
        self.options = writer.options
        self._writer = writer
        self._index = writer.index
        self._space = writer.space
        self._lock = lock
        self._hand = Handover(writer, writer.options.soon_delay)
        self._contents = Contents(path / "segments", writer, self._hand.read)
        self._claimed: dict[int, Delivery] = {}
        desk = Desk(self._hand, writer.index, self._claimed)
        self.destinations = desk.destinations
        self.queues = desk.queues
        self.waiting = desk.waiting
        self.change = desk.change
        self.pause = desk.pause
        outbox = Outbox(self._hand, writer)
        self._recent = outbox.recent
        self.record = outbox.record
        self.record_soon = outbox.record_soon
        self.batches = outbox.batches
        self.forget = outbox.forget
        self.more = outbox.recent.more
        self._pending_octets = 0
        self._failed = asyncio.Event()

    # -- life ------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the writer thread; call inside the running loop."""
        self._hand.start(self._told)

    async def close(self) -> None:
        """Write what is queued, close the files, give the lock back."""
        if not self._hand.closed:
            self._hand.close()
            await self._contents.close()
            self._lock.release()

    async def __aenter__(self) -> LocalSpool:
        """Start."""
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        await self.close()

    @property
    def cache(self) -> ContentCache:
        """Give the contents in memory."""
        return self._contents.cache

    @property
    def failure(self) -> BaseException | None:
        """Give the error after which the spool takes and gives nothing any more."""
        return self._writer.failure

    async def watch(self) -> None:
        """Wait until the spool has failed; then raises StorageError: the process has to go."""
        await self._failed.wait()
        raise StorageError(f"the spool {self.path} has failed: {self._writer.failure}")

    @property
    def damaged(self) -> int:
        """Count messages whose stored bytes proved damaged since the start."""
        return self._index.damaged

    @property
    def totals(self) -> Totals:
        """Count the deliveries here; costs nothing."""
        return Totals(self._index.waiting, len(self._claimed), self._index.held)

    @property
    def outbox_bytes(self) -> int:
        """Give the octets of facts that wait for the ledger."""
        return self._index.outbox_bytes

    def tell_recipients(self, kept: RecipientsKept) -> None:
        """Have recipients written there before their messages count as accepted. An OSError of it
        refuses the messages of that group, and nothing else.
        """
        self._writer.recipients = kept

    def slowest_commit(self) -> float:
        """Give the seconds that the longest group commit took since this was last asked."""
        slowest, self._writer.slowest_commit = self._writer.slowest_commit, 0.0
        return slowest

    @property
    def last_seq(self) -> int:
        """Give the sequence number of the latest outbox row."""
        return self._recent.seq

    def refuses(self) -> str:
        """Say why new mail cannot be taken now, or ""."""
        if self._hand.closed:
            return "closed"
        if self._writer.failure is not None:
            return "failed"
        if self.options.draining:
            return "draining"
        if self._index.outbox_bytes >= self.options.outbox_bytes:
            return "outbox full"
        if self._space.stale():
            self._hand.soon()  # the writer looks at the disk
        return "disk reserve" if self._space.low else ""

    # -- mail in ---------------------------------------------------------------------------

    def accept(
        self,
        message: Message,
        content: bytes,
        deliveries: Sequence[Delivery],
        events: Sequence[bytes],
        recipients: Recipients | None = None,
    ) -> asyncio.Future[None]:
        """Store a message with its deliveries; done after fsync."""
        why = self.refuses()
        if why in {"failed", "closed"}:
            raise StorageError(f"the spool is {why}")
        if why:
            raise SpoolFullError(f"the spool takes no new mail: {why}")
        if self._pending_octets >= self.options.pending_bytes:
            raise SpoolFullError("more mail is waiting to be written than the spool may hold")
        future = self._hand.future()
        work = self._hand.work
        if deliveries:
            envelope = record.encode_message(message)
            claimed = [delivery for delivery in deliveries if delivery.state is _CLAIMED]
            work.accepting.append(
                Accepting(
                    message.id, envelope, content, deliveries, claimed, events, future, recipients
                )
            )
            work.octets += len(content)
            self._pending_octets += len(content)
            if claimed:
                self.cache.put(message, content)
        else:  # every recipient was excluded: only the facts stay
            work.events += events
            work.recorded.append(future)
        self._hand.soon()
        return future

    def _accepted(self, done: Accepting) -> None:
        self._pending_octets -= len(done.content)
        if done.claimed:
            for delivery in done.claimed:
                self._claimed[delivery.id] = delivery
            if done.future.cancelled():
                self._give_back(done.claimed)
        if not done.future.done():
            done.future.set_result(None)

    # -- dispatch --------------------------------------------------------------------------

    async def due(self, now: int, limit: int, exclude: Collection[str] = (), after: int = 0) -> Due:
        """Give queues with waiting deliveries due at `now`, the longest due first."""
        names = frozenset(exclude)
        return await self._hand.read(lambda db: queries.due(db, now, limit, names, after))

    async def claim(self, picks: Sequence[tuple[int, int]], now: int) -> list[Delivery]:
        """Take due deliveries: up to n of each queue, for picks (queue id, n)."""
        future = self._hand.write(lambda group: edits.claim(group, picks, now))
        try:
            taken: list[Delivery] = await asyncio.shield(future)
        except asyncio.CancelledError:
            future.add_done_callback(self._nobodys)
            raise
        self._claimed.update((d.id, d) for d in taken)
        self._contents.prefetch(taken)
        return taken

    def _nobodys(self, future: asyncio.Future[list[Delivery]]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._claimed.update((d.id, d) for d in future.result())
            self._give_back(future.result())

    def _give_back(self, deliveries: Sequence[Delivery]) -> None:
        for d in deliveries:
            self.settle_soon(
                Settlement(delivery=d.id, message=d.message, disposition=Disposition.RETURN)
            )

    def settle_soon(self, settlement: Settlement) -> None:
        """Queue the end of a claim for the next group commit."""
        delivery = self._claimed.pop(settlement.delivery, None)
        if delivery is None:
            raise IllegalMoveError(f"delivery {settlement.delivery} is not claimed")
        self._hand.work.settling.append((settlement, delivery))
        self.settling += 1
        self._hand.later()

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """End claims; returns after fsync."""
        missing = [s.delivery for s in settlements if s.delivery not in self._claimed]
        if missing:
            raise IllegalMoveError(f"deliveries {missing[:5]} are not claimed")
        if not settlements:
            return
        for settlement in settlements:
            self.settle_soon(settlement)
        future = self._hand.future()
        self._hand.work.settled.append(future)
        self._hand.soon()
        await asyncio.shield(future)

    async def settled(self) -> None:
        """Wait until what was settled so far is on disk; hurries nobody."""
        future = self._hand.future()
        self._hand.work.settled.append(future)
        self._hand.later()
        await asyncio.shield(future)

    # -- contents --------------------------------------------------------------------------

    async def load(self, message: int) -> tuple[Message, bytes]:
        """Give a message and its content; read once however many ask at the same time."""
        return self.cache.get(message) or await self._contents.load(message)

    async def is_drained(self) -> bool:
        """Tell whether nothing is left: no mail and no facts for the ledger."""
        left = await self._hand.read(queries.left)
        return not left and not self._claimed

    # -- between the threads ---------------------------------------------------------------

    def _told(self, committed: Committed) -> None:
        """Take in what a group commit has brought; called by the writer through the loop."""
        self.settling -= committed.settled
        for accepting in committed.accepted:
            self._accepted(accepting)
        for accepting, failure in committed.refused:
            self._pending_octets -= len(accepting.content)
            self.cache.drop(accepting.message)
            if not accepting.future.done():
                accepting.future.set_exception(failure)
        for message in committed.gone:
            self.cache.drop(message)
        if committed.batch is not None:
            self._recent.add(committed.batch)
        for future, result, error in committed.answers:
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        if self._writer.failure is not None:
            self._failed.set()

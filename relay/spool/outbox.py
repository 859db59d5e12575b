"""The facts of one spool on their way to the ledger, as `protocol.Spool` promises them.

Guarantees: facts go into the next group commit; the latest rows are given from memory, older ones
from disk; what the ledger has is forgotten only when it says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from relay.errors import SpoolFullError, StorageError
from relay.spool import edits, queries
from relay.spool.handover import Handover
from relay.spool.options import MIB
from relay.spool.protocol import Batch
from relay.spool.recent import RecentBatches
from relay.spool.writer import Writer

_RECENT_BYTES = 4 * MIB  # rows kept in memory for the link
_HITS = 50_000  # facts that may gather while the writer is busy


class Outbox:
    """Works through the hand-over to the writer; belongs to the event loop's thread."""

    def __init__(self, hand: Handover, writer: Writer) -> None:
        """Begin behind the latest row on disk."""
        self._hand = hand
        self._writer = writer
        self._index = writer.index
        self._limit = writer.options.outbox_bytes
        self.recent = RecentBatches(writer.index.seq, _RECENT_BYTES)

    async def record(self, events: Sequence[bytes]) -> None:
        """Put facts into the outbox; returns after fsync."""
        if self._writer.failure is not None:
            raise StorageError("the spool is failed")
        if self._index.outbox_bytes >= self._limit:
            raise SpoolFullError("the spool takes no new mail: outbox full")
        future = self._hand.future()
        self._hand.work.events += events
        self._hand.work.recorded.append(future)
        self._hand.soon()
        await asyncio.shield(future)

    def record_soon(self, events: Sequence[bytes]) -> bool:
        """Queue facts that may be lost with at most one group commit (hits)."""
        full = self._index.outbox_bytes >= self._limit
        waiting = self._hand.work.events
        if full or self._hand.closed or self._writer.failure or len(waiting) >= _HITS:
            return False
        waiting += events
        self._hand.later()
        return True

    async def batches(self, after: int, limit: int) -> list[Batch]:
        """Give outbox rows above `after`, in order; the latest come from memory."""
        recent = self.recent.above(after, limit)
        if recent is not None:
            return recent
        return await self._hand.read(lambda db: queries.batches(db, after, limit))

    async def forget(self, upto: int) -> None:
        """Drop outbox rows up to and including this sequence number."""
        self.recent.drop(upto)
        forgotten = self._hand.write(lambda group: edits.forget(group, upto), urgent=False)
        await asyncio.shield(forgotten)

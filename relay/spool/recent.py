"""The latest outbox rows in memory, so that the link does not read back what was just written."""

from __future__ import annotations

import asyncio
from collections import deque

from relay.spool.protocol import Batch


class RecentBatches:
    """Rows in sequence, bounded in octets; at least the latest one."""

    def __init__(self, seq: int, limit: int) -> None:
        """`seq` is the number of the latest row on disk, `limit` is in octets."""
        self.seq = seq
        self._limit = limit
        self._batches: deque[Batch] = deque()
        self._octets = 0
        self._waiting: list[asyncio.Future[None]] = []

    def add(self, batch: Batch) -> None:
        """Keep the next row and wake whoever waits for one."""
        self.seq = batch.seq
        self._batches.append(batch)
        self._octets += _size(batch)
        while self._octets > self._limit and len(self._batches) > 1:
            self._octets -= _size(self._batches.popleft())
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def above(self, after: int, limit: int) -> list[Batch] | None:
        """Give up to `limit` rows above `after`; None where older ones are on disk only."""
        if after >= self.seq:
            return []
        batches = self._batches
        if not batches or batches[0].seq > after + 1:
            return None
        start = after + 1 - batches[0].seq
        return [batches[i] for i in range(start, min(start + limit, len(batches)))]

    def drop(self, upto: int) -> None:
        """Forget rows up to and including this one."""
        while self._batches and self._batches[0].seq <= upto:
            self._octets -= _size(self._batches.popleft())

    async def more(self, after: int) -> None:
        """Wait until there is a row above `after`."""
        while self.seq <= after:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future


def _size(batch: Batch) -> int:
    return sum(map(len, batch.events))

"""Facts that control learns itself (a report over HTTP, a Maildir): folded like a worker's.

Guarantees: when `record` returns they are in the ledger and what they suppress is in force. Each
call is a batch of its own under the node's name, above the mark of the one before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from msgspec.structs import replace

from metrics.events import Event, encode
from relay.spool.protocol import Batch


class OwnFacts:
    """Control's pen."""

    def __init__(
        self,
        node: str,
        mark: Callable[[str], Awaitable[int]],
        fold: Callable[[str, Sequence[Batch]], Awaitable[int]],
    ) -> None:
        """Take the ledger's mark and fold."""
        self._node = node
        self._spool = f"control of {node}"
        self._mark = mark
        self._fold = fold
        self._turn = asyncio.Lock()

    async def record(self, events: Sequence[Event]) -> None:
        """Record facts. Raises StorageError; then none is recorded."""
        bodies = tuple(encode(replace(event, node=self._node)) for event in events)
        async with self._turn:
            upto = await self._mark(self._spool)
            await self._fold(self._spool, [Batch(upto + 1, bodies)])

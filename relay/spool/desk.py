"""An operator's questions and commands, as `protocol.Spool` promises them.

Long answers come in pages and long commands in steps, each between two group commits, so that
neither holds up anybody's mail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from relay.message import Delivery
from relay.spool import edits, queries
from relay.spool.handover import Handover
from relay.spool.index import Index
from relay.spool.protocol import QueueKey, Selection, Waiting


class Totals(NamedTuple):
    """Deliveries in a spool, by state."""

    waiting: int
    claimed: int
    held: int


class Desk:
    """Works through the hand-over to the writer; belongs to the event loop's thread."""

    def __init__(self, hand: Handover, index: Index, claimed: Mapping[int, Delivery]) -> None:
        """`claimed` is what dispatch has, by delivery."""
        self._hand = hand
        self._index = index
        self._claimed = claimed

    async def destinations(self) -> list[Waiting]:
        """List destinations with what waits for them."""
        claimed: dict[str, int] = {}
        for delivery in self._claimed.values():
            claimed[delivery.destination] = claimed.get(delivery.destination, 0) + 1
        found: list[Waiting] = []
        last: str | None = ""
        while last is not None:
            page = await self._hand.read(partial(queries.destinations, after=last))
            found += [w._replace(claimed=claimed.pop(w.destination, 0)) for w in page]
            last = page[-1].destination if len(page) == queries.DESTINATIONS else None
        found = [w for w in found if w.waiting or w.held or w.claimed]
        return found + [Waiting(name, 0, count, 0, 0, 0) for name, count in claimed.items()]

    async def queues(self, selection: Selection, limit: int) -> list[tuple[QueueKey, Waiting]]:
        """List the queues of a selection with what waits in each."""
        return await self._hand.read(lambda db: queries.queues(db, selection, limit))

    async def waiting(self, selection: Selection, limit: int, after: int = 0) -> list[Delivery]:
        """List waiting and held deliveries of a selection with ids above `after`, by id."""
        return await self._hand.read(lambda db: queries.waiting(db, selection, limit, after))

    async def change(
        self,
        selection: Selection,
        change: edits.Change,
        destination: str | None = None,
    ) -> int:
        """Settle waiting and held deliveries as `change` says; gives the number."""
        if selection.message is not None or selection.delivery is not None:
            return int(
                await self._hand.write(
                    lambda group: edits.change_message(group, selection, change, destination)
                )
            )
        cursor: tuple[int, int, int, int] | None = (0, 0, 0, 0)
        total = 0
        while cursor is not None:
            step = partial(
                edits.step,
                selection=selection,
                cursor=cursor,
                wanted=change,
                destination=destination,
            )
            count, cursor = await self._hand.write(step)
            total += count
        return total

    async def pause(self, paused: Callable[[QueueKey], bool]) -> None:
        """Say which queues `due` passes over from now on, present and future ones."""
        self._index.paused = paused
        last: int | None = 0
        while last is not None:
            last = await self._hand.write(partial(edits.pause, after=last))

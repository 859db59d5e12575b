"""An operator's hand on the queue: look, hold, release, cancel, retry now, move.

Each command reaches what waits in the spool and what dispatch holds in memory; what is on the wire
is not touched. Commands work in bounded steps between group commits, so that a command on a
million deliveries delays nobody's mail. Numbers are deliveries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relay.clock import Clock
from relay.dispatch.dispatcher import Dispatcher
from relay.message import Delivery, Disposition, Message, Settlement, State
from relay.spool.protocol import QueueKey, Selection, Spool, Waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueCommands:
    """Commands on one spool and its dispatcher.

    `cancelled` makes the encoded event of a cancelled delivery; it runs in the spool's thread.
    """

    spool: Spool
    dispatcher: Dispatcher
    clock: Clock
    cancelled: Callable[[Delivery], bytes]

    async def destinations(self) -> list[Waiting]:
        """List destinations with what waits for them."""
        return await self.spool.destinations()

    async def queues(
        self, selection: Selection, limit: int = 1000
    ) -> list[tuple[QueueKey, Waiting]]:
        """List queues (destination, account, campaign ...), those with most deliveries first."""
        return await self.spool.queues(selection, limit)

    async def waiting(
        self, selection: Selection, limit: int = 100, after: int = 0
    ) -> list[Delivery]:
        """List deliveries that wait or are held, by id, above `after`."""
        return await self.spool.waiting(selection, limit, after)

    async def show(self, message: int) -> tuple[Message, list[Delivery]]:
        """Give a message with its deliveries that wait; raises KeyError when it is gone."""
        found, _ = await self.spool.load(message)
        return found, await self.spool.waiting(Selection(message=message), 1000)

    async def hold(self, selection: Selection) -> int:
        """Keep deliveries until somebody releases them."""
        await self._withdraw(selection)
        return await self.spool.change(selection, _hold)

    async def release(self, selection: Selection) -> int:
        """Let held deliveries go on; the time they were held does not count as age."""
        count = await self.spool.change(selection, _release)
        self.dispatcher.look()
        return count

    async def retry_now(self, selection: Selection) -> int:
        """Make waiting deliveries due, whatever their time was."""
        now = self.clock()

        def due(delivery: Delivery) -> Settlement | None:
            if delivery.state is not State.WAITING or delivery.not_before <= now:
                return None
            return _again(delivery, now)

        count = await self.spool.change(selection, due)
        self.dispatcher.look()
        return count

    async def cancel(self, selection: Selection) -> int:
        """End deliveries without sending them; each gets its event."""
        await self._withdraw(selection)

        def gone(delivery: Delivery) -> Settlement:
            return Settlement(
                delivery=delivery.id,
                message=delivery.message,
                disposition=Disposition.DONE,
                events=(self.cancelled(delivery),),
            )

        return await self.spool.change(selection, gone)

    async def move(self, selection: Selection, destination: str) -> int:
        """Send deliveries by another destination or route."""
        await self._withdraw(selection)
        count = await self.spool.change(selection, lambda _: None, destination)
        self.dispatcher.look()
        return count

    async def _withdraw(self, selection: Selection) -> None:
        """Put back into the spool what dispatch holds of a selection and no lane has."""
        taken = self.dispatcher.withdraw(lambda delivery: covers(selection, delivery))
        await self.spool.settle(_returns(taken))


def covers(selection: Selection, delivery: Delivery) -> bool:
    """Tell whether a delivery is meant by a selection."""
    pairs = (
        (selection.destination, delivery.destination),
        (selection.account, delivery.account),
        (selection.campaign, delivery.campaign),
        (selection.sending_domain, delivery.sending_domain),
        (selection.message, delivery.message),
        (selection.delivery, delivery.id),
    )
    return all(wanted is None or wanted == found for wanted, found in pairs)


def _returns(deliveries: Sequence[Delivery]) -> list[Settlement]:
    return [
        Settlement(delivery=d.id, message=d.message, disposition=Disposition.RETURN)
        for d in deliveries
    ]


def _hold(delivery: Delivery) -> Settlement | None:
    if delivery.state is State.HELD:
        return None
    return Settlement(
        delivery=delivery.id,
        message=delivery.message,
        disposition=Disposition.HOLD,
        attempt=delivery.attempt,
        last_reply=delivery.last_reply,
        ambiguous=delivery.ambiguous,
    )


def _release(delivery: Delivery) -> Settlement | None:
    return _again(delivery, delivery.not_before) if delivery.state is State.HELD else None


def _again(delivery: Delivery, not_before: int) -> Settlement:
    return Settlement(
        delivery=delivery.id,
        message=delivery.message,
        disposition=Disposition.RETRY,
        not_before=not_before,
        attempt=delivery.attempt,
        last_reply=delivery.last_reply,
        ambiguous=delivery.ambiguous,
    )

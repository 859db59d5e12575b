"""Messages for a spool, made from a few words, and a wall clock that tests set."""

from __future__ import annotations

from collections.abc import Sequence

from relay.clock import SECOND
from relay.message import Delivery, Disposition, Message, Settlement, State
from relay.spool.local import LocalSpool

START = 1_780_000_000 * SECOND


class WallClock:
    """A clock that moves only when it is told to; microseconds since the epoch."""

    def __init__(self, at: int = START) -> None:
        """Start at a fixed moment."""
        self.at = at

    def __call__(self) -> int:
        """Give the moment."""
        return self.at

    def forward(self, seconds: float) -> None:
        """Let time pass, or go back."""
        self.at += int(seconds * SECOND)


def message_to(
    spool: LocalSpool,
    *destinations: str,
    now: int = START,
    state: State = State.CLAIMED,
    account: int = 1,
    campaign: str = "spring",
    priority: int = 0,
    not_before: int = 0,
) -> tuple[Message, list[Delivery]]:
    """Make a message with one delivery to each destination."""
    first = spool.take_ids(1 + len(destinations))
    message = Message(
        id=first,
        account=account,
        accepted_at=now,
        settings_version=7,
        campaign=campaign,
        sending_domain="shop.test",
        subject="hello",
    )
    deliveries = [
        Delivery(
            id=first + n,
            message=first,
            recipient=b"r%d@%s" % (n, name.encode()),
            recipient_domain=name,
            destination=name,
            account=account,
            campaign=campaign,
            sending_domain="shop.test",
            state=state,
            not_before=not_before or now,
            starts_at=not_before or now,
            priority=priority,
        )
        for n, name in enumerate(destinations, start=1)
    ]
    return message, deliveries


async def put(
    spool: LocalSpool,
    *destinations: str,
    content: bytes = b"Subject: hello\r\n\r\nbody\r\n",
    events: Sequence[bytes] = (),
    now: int = START,
    state: State = State.CLAIMED,
    account: int = 1,
    campaign: str = "spring",
    priority: int = 0,
    not_before: int = 0,
) -> list[Delivery]:
    """Accept such a message; gives its deliveries."""
    message, deliveries = message_to(
        spool,
        *destinations,
        now=now,
        state=state,
        account=account,
        campaign=campaign,
        priority=priority,
        not_before=not_before,
    )
    await spool.accept(message, content, deliveries, events)
    return deliveries


def done(delivery: Delivery, *events: bytes) -> Settlement:
    """Settle a delivery as delivered."""
    return Settlement(
        delivery=delivery.id,
        message=delivery.message,
        disposition=Disposition.DONE,
        attempt=delivery.attempt + 1,
        events=events,
    )


def retry(delivery: Delivery, not_before: int, reply: str = "451 4.7.1 later") -> Settlement:
    """Settle a delivery as put off."""
    return Settlement(
        delivery=delivery.id,
        message=delivery.message,
        disposition=Disposition.RETRY,
        not_before=not_before,
        attempt=delivery.attempt + 1,
        last_reply=reply,
    )

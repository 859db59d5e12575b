"""The seam between "we keep the mail" and everybody else in a worker.

Whoever holds a `Spool` may rely on this: when `accept`, `settle` or `record` returns, the
transaction is on disk (fsync); until then nothing was promised. Facts (events) enter the outbox in
the same transaction as the change they tell of. Every bound has an error: `SpoolFullError` (disk
reserve, outbox, pending bytes), `StorageError` (the disk failed).

A *queue* is what waits for one destination from one account, campaign, sending domain and
priority: the unit of fairness and of pausing. All methods are called from the event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, Protocol

from relay.errors import StorageError, WaypostError
from relay.message import Delivery, Message, Settlement


class Batch(NamedTuple):
    """One outbox row: the facts of one group commit, in order."""

    seq: int
    events: tuple[bytes, ...]  # each an encoded metrics.events.Event


Recipients = tuple[int, Sequence[int]]
"""The id of a message's first delivery, and a keyed hash for it and each that follows."""


class RecipientsKept(Protocol):
    """Where recipients are written before their message counts as accepted; used by the thread
    that writes the spool.
    """

    def write(self, noted: Sequence[Recipients]) -> None:
        """Write the recipients of a group's new messages; raises OSError."""
        ...

    def take_back(self) -> None:
        """Give back the space of what was written last: its messages were refused."""
        ...


class Waiting(NamedTuple):
    """What waits for one destination, or for one queue of it."""

    destination: str
    waiting: int
    claimed: int
    held: int
    oldest: int  # starts_at of the oldest, microseconds; 0 when none; never too young
    next_due: int  # smallest not_before of those waiting, microseconds; 0 when none
    last_reply: str = ""  # of the latest attempt that was put off


class QueueKey(NamedTuple):
    """What makes deliveries belong to one queue."""

    destination: str
    account: int
    campaign: str
    sending_domain: str
    priority: int


class DueQueue(NamedTuple):
    """A queue with due deliveries, as dispatch needs it to choose."""

    id: int
    key: QueueKey
    waiting: int
    next_due: int


class Due(NamedTuple):
    """Queues with due work, and when more will be due."""

    queues: list[DueQueue]
    later: int  # smallest next_due after the asked moment, microseconds; 0 when none


class Selection(NamedTuple):
    """Which deliveries a queue command means; None does not restrict."""

    destination: str | None = None
    account: int | None = None
    campaign: str | None = None
    sending_domain: str | None = None
    message: int | None = None
    delivery: int | None = None


class DamagedContentError(StorageError):
    """A stored message whose bytes are not what was written; it is never delivered."""


class IllegalMoveError(WaypostError):
    """Our bug: a delivery cannot go from its state by this fact; nothing was changed."""


class Spool(Protocol):
    """One worker's durable store of messages, deliveries and facts."""

    @property
    def incarnation(self) -> str:
        """Name this spool file uniquely for ever; a new file has a new name.

        The ledger's high-water mark goes by it.
        """
        ...

    @property
    def number(self) -> int:
        """Give the spool's number, which is part of every id it gives out."""
        ...

    @property
    def settling(self) -> int:
        """Count settlements queued and not yet on disk; dispatch slows down by it."""
        ...

    def take_ids(self, count: int) -> int:
        """Give the first of `count` consecutive new ids."""
        ...

    def refuses(self) -> str:
        """Say why new mail cannot be taken now, or "".

        One of "disk reserve", "outbox full", "draining", "failed", "closed".
        """
        ...

    def accept(
        self,
        message: Message,
        content: bytes,
        deliveries: Sequence[Delivery],
        events: Sequence[bytes],
        recipients: Recipients | None = None,
    ) -> asyncio.Future[None]:
        """Store a message with its deliveries; done after fsync, and after `recipients` were
        written where tokens are looked up.

        Deliveries in state CLAIMED belong to the caller. Raises, or sets, SpoolFullError or
        StorageError, and then nothing was stored. Cancelling the future does not take the message
        back.
        """
        ...

    async def due(self, now: int, limit: int, exclude: Collection[str] = (), after: int = 0) -> Due:
        """Give queues with waiting deliveries due at `now`, the longest due first.

        `exclude` names destinations to pass over; `after` is a next_due below which not to look.
        """
        ...

    async def claim(self, picks: Sequence[tuple[int, int]], now: int) -> list[Delivery]:
        """Take due deliveries: up to n of each queue, for picks (queue id, n); oldest due first."""
        ...

    def settle_soon(self, settlement: Settlement) -> None:
        """Queue the end of a claim for the next group commit; never blocks. Order is kept.

        Raises IllegalMoveError when the delivery is not claimed.
        """
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """End claims; returns after fsync."""
        ...

    async def settled(self) -> None:
        """Wait until what was settled so far is on disk; raises StorageError if it does not get
        there.
        """
        ...

    async def record(self, events: Sequence[bytes]) -> None:
        """Put facts into the outbox; returns after fsync. Raises SpoolFullError at its bound."""
        ...

    def record_soon(self, events: Sequence[bytes]) -> bool:
        """Queue facts that may be lost with at most one group commit (hits).

        Gives False when the outbox is at its bound.
        """
        ...

    async def load(self, message: int) -> tuple[Message, bytes]:
        """Give a message and its content; cached for what was just accepted.

        Raises KeyError when it is gone, DamagedContentError when its bytes are not intact, OSError
        when they cannot be read now.
        """
        ...

    async def destinations(self) -> list[Waiting]:
        """List destinations with what waits for them."""
        ...

    async def queues(self, selection: Selection, limit: int) -> list[tuple[QueueKey, Waiting]]:
        """List the queues of a selection with what waits in each, most waiting first."""
        ...

    async def waiting(self, selection: Selection, limit: int, after: int = 0) -> list[Delivery]:
        """List waiting and held deliveries of a selection with ids above `after`, by id."""
        ...

    async def change(
        self,
        selection: Selection,
        change: Callable[[Delivery], Settlement | None],
        destination: str | None = None,
    ) -> int:
        """Settle waiting and held deliveries as `change` says (None leaves one); gives the number.

        Works in bounded steps between group commits. `destination` moves what is changed there.
        """
        ...

    async def pause(self, paused: Callable[[QueueKey], bool]) -> None:
        """Say which queues `due` passes over from now on, present and future ones."""
        ...

    async def batches(self, after: int, limit: int) -> list[Batch]:
        """Give outbox rows with a sequence number above `after`, in order."""
        ...

    async def more(self, after: int) -> None:
        """Wait until the outbox holds a row with a sequence number above `after`."""
        ...

    async def forget(self, upto: int) -> None:
        """Drop outbox rows up to and including this sequence number: the ledger has them."""
        ...

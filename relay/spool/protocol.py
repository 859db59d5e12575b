"""The seam between "we keep the mail" and everybody else in a worker.

Whoever holds a `Spool` may rely on this: when `accept`, `settle` or `record` returns, the transaction is on disk
(fsync); until then nothing was promised. Facts (events) enter the outbox in the same transaction as the change they
tell of. Every bound has an error: `SpoolFullError` (disk reserve, outbox), `StorageError` (the disk failed).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from relay.message import Delivery, Message, Settlement


class Batch(NamedTuple):
    """One outbox row: the facts of one group commit, in order."""

    seq: int
    events: tuple[bytes, ...]  # each an encoded metrics.events.Event


class Waiting(NamedTuple):
    """What waits for one destination."""

    destination: str
    waiting: int
    claimed: int
    held: int
    oldest: int  # starts_at of the oldest, microseconds; 0 when none
    next_due: int  # smallest not_before of those waiting, microseconds; 0 when none


class Spool(Protocol):
    """One worker's durable store of messages, deliveries and facts."""

    @property
    def incarnation(self) -> str:
        """Name this spool file uniquely for ever; a new file has a new name. The ledger's high-water mark goes by it."""
        ...

    @property
    def number(self) -> int:
        """Give the spool's number, which is part of every id it gives out."""
        ...

    def take_ids(self, count: int) -> int:
        """Give the first of `count` consecutive new ids."""
        ...

    def refuses(self) -> str:
        """Say why new mail cannot be taken now ("disk reserve", "outbox full", "draining", "failed"), or ""."""
        ...

    async def accept(
        self,
        message: Message,
        content: bytes,
        deliveries: Sequence[Delivery],
        events: Sequence[bytes],
    ) -> None:
        """Store a message with its deliveries; returns after fsync. Deliveries in state CLAIMED belong to the caller.

        Raises SpoolFullError or StorageError, and then nothing was stored.
        """
        ...

    async def claim(self, destination: str, limit: int, now: int) -> list[Delivery]:
        """Take up to `limit` due deliveries of a destination (highest priority, then oldest, accounts in turn)."""
        ...

    def settle_soon(self, settlement: Settlement) -> None:
        """Queue the end of a claim for the next group commit; never blocks. Order is kept."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """End claims; returns after fsync."""
        ...

    async def record(self, events: Sequence[bytes]) -> None:
        """Put facts into the outbox; returns after fsync. Raises SpoolFullError at the outbox bound."""
        ...

    def record_soon(self, events: Sequence[bytes]) -> bool:
        """Queue facts that may be lost with at most one group commit (hits); False when the outbox is at its bound."""
        ...

    async def load(self, message: int) -> tuple[Message, bytes]:
        """Give a message and its content; cached for what was just accepted. Raises KeyError when it is gone."""
        ...

    async def destinations(self) -> list[Waiting]:
        """List destinations with what waits for them."""
        ...

    async def batches(self, after: int, limit: int) -> list[Batch]:
        """Give outbox rows with a sequence number above `after`, in order."""
        ...

    async def forget(self, upto: int) -> None:
        """Drop outbox rows up to and including this sequence number: the ledger has them."""
        ...

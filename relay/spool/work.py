"""What the event loop hands to the writer thread, and what it gets back.

One `Work` is everything that gathered since the last hand-over. Reading jobs run outside the
transaction; writing jobs run inside it, in the group commit of the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from relay.message import Delivery, Settlement
from relay.spool.protocol import Recipients

if TYPE_CHECKING:
    from relay.spool.database import Database
    from relay.spool.group import Group

Future = asyncio.Future[Any]


class Accepting(msgspec.Struct, eq=False):
    """A message to be stored."""

    message: int
    envelope: bytes
    content: bytes
    deliveries: Sequence[Delivery]
    claimed: Sequence[Delivery]  # those that belong to whoever handed the message over
    events: Sequence[bytes]
    future: Future
    recipients: Recipients | None  # for who is to know them before the message counts as accepted


@dataclass(slots=True)
class Reading:
    """A question to the database."""

    job: Callable[[Database], object]
    future: Future


@dataclass(slots=True)
class Writing:
    """A change that needs the database."""

    job: Callable[[Group], object]
    future: Future


@dataclass(slots=True)
class Work:
    """Everything for one group commit, each list in its own order."""

    accepting: list[Accepting] = field(default_factory=list)
    settling: list[tuple[Settlement, Delivery]] = field(default_factory=list)
    settled: list[Future] = field(default_factory=list)  # who waits for `settling`
    events: list[bytes] = field(default_factory=list)
    recorded: list[Future] = field(default_factory=list)  # who waits for `events`
    reading: list[Reading] = field(default_factory=list)
    writing: list[Writing] = field(default_factory=list)
    octets: int = 0  # of the contents

    def add(self, other: Work) -> None:
        """Take what gathered later behind what is here."""
        self.accepting += other.accepting
        self.settling += other.settling
        self.settled += other.settled
        self.events += other.events
        self.recorded += other.recorded
        self.reading += other.reading
        self.writing += other.writing
        self.octets += other.octets

    def size(self) -> int:
        """Count the operations."""
        return len(self.accepting) + len(self.settling) + len(self.events)

    def writes(self) -> bool:
        """Tell whether a transaction is needed."""
        changes = self.accepting or self.settling or self.events or self.writing
        return bool(changes or self.recorded or self.settled)

    def futures(self) -> list[Future]:
        """Give everybody who waits, but for those who wait for a message to be accepted."""
        jobs = [job.future for job in self.reading] + [job.future for job in self.writing]
        return self.settled + self.recorded + jobs

"""How a change becomes durable: one transaction holds the rows, the audit, the feed, the version.

Guarantees: `await changes.make(caller, work)` runs `work(change)` and either leaves all of it in
the ledger and tells the publisher, or none of it. Changes follow one another (one at a time), so
the versions of the feed have no gap, and when `make` returns the snapshot on disk and the workers
have what it did.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import msgspec
from sqlalchemy import Connection, insert

from relay.clock import Clock, now
from relay.control.caller import Caller
from relay.control.publish import Prepared, Publisher
from relay.ledger import settings_tables as tables
from relay.notices import Notice

T = TypeVar("T")


class Books(Protocol):
    """What operations need of the ledger: a function run in one transaction, or on one snapshot."""

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on one state of the ledger."""
        ...

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction; it is on disk when this returns."""
        ...


@dataclass(slots=True)
class Change:
    """One transaction under way."""

    connection: Connection
    caller: Caller
    at: int  # microseconds since the epoch
    version: int  # of the settings that it leads away from
    notices: list[Notice] = field(default_factory=list)  # of suppressions that it changes

    def audit(
        self,
        action: str,
        subject: str,
        *,
        account: int | None,
        before: object = None,
        after: object = None,
    ) -> None:
        """Write who did what to what; `before` and `after` are values without secrets."""
        row = {
            "at": self.at,
            "actor": self.caller.name,
            "action": action,
            "account": account,
            "subject": subject[:300],
            "before": msgspec.json.encode(before).decode(),
            "after": msgspec.json.encode(after).decode(),
        }
        self.connection.execute(insert(tables.audit).values(row))


class Changes:
    """Runs the operations' work and hands its result to the publisher."""

    def __init__(self, books: Books, publisher: Publisher, clock: Clock = now) -> None:
        """Take the ledger, whoever publishes, and the clock for times in rows."""
        self._books = books
        self._publisher = publisher
        self._clock = clock
        self._turn = asyncio.Lock()

    @property
    def version(self) -> int:
        """Give the version of the settings in force."""
        return self._publisher.version

    def now(self) -> int:
        """Give the present moment in microseconds since the epoch."""
        return self._clock()

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on one state of the ledger."""
        return await self._books.read(work)

    async def note(self, work: Callable[[Connection], T]) -> T:
        """Write something that is no change of settings, such as a key's last use."""
        return await self._books.write(work)

    async def make(
        self, caller: Caller, work: Callable[[Change], T], *, settings: bool = True
    ) -> T:
        """Make a change; raises what `work` raises, and then nothing has changed.

        `settings` False: it touches suppressions only, so the settings need no comparing.
        """
        # Once begun it is finished, workers and snapshot included, even if the caller goes away.
        return await asyncio.shield(asyncio.ensure_future(self._make(caller, work, settings)))

    async def _make(self, caller: Caller, work: Callable[[Change], T], settings: bool) -> T:
        def whole(connection: Connection) -> tuple[T, Prepared | None, list[Notice]]:
            change = Change(connection, caller, self._clock(), self._publisher.version)
            result = work(change)
            prepared = self._publisher.prepare(connection) if settings else None
            return result, prepared, change.notices

        async with self._turn:
            result, prepared, notices = await self._books.write(whole)
            if prepared is not None:
                await self._publisher.publish(prepared)
            if notices:
                await self._publisher.suppress(notices)
        # Outside the turn: a worker that hangs must not hold up the changes of others.
        if prepared is not None and prepared.steps:
            await self._publisher.in_force()
        return result

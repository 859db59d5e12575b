"""How workers learn of suppressions: notices at once, the table soon after.

Guarantees: when `tell` returns, every process of this node follows the change within its poll (a
quarter of a second), because the notice is on disk; a big change (an import) replaces the table
instead. The table is rewritten some seconds after changes and holds every entry in force. It stands
for the moment up to which all facts of all workers are known to be folded (`caught_up`), so that no
worker forgets a notice that the ledger has not heard of yet.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy import Connection, delete, select

from relay.clock import Clock, now
from relay.control.caller import Caller, Scope
from relay.control.changes import Books, Change, Changes
from relay.control.operations.suppression_rows import (
    in_force,
    notice_of,
    table_entry,
    table_reason,
)
from relay.errors import StorageError, UnavailableError
from relay.ledger.settings_tables import suppressions
from relay.notices import Notice, NoticeBoard
from relay.suppressions import write_table

_log = logging.getLogger(__name__)

_MOST_NOTICES = 5000
_REWRITE_SECONDS = 5.0
_EXPIRY_SECONDS = 60.0
_EXPIRED_TOGETHER = 1000
_CLOCKWORK = Caller(name="expiry", scopes=frozenset({Scope.ADMIN}))


class SuppressionFeed:
    """Control's side of the suppressions in force."""

    def __init__(
        self,
        books: Books,
        table: Path,
        board: NoticeBoard,
        clock: Clock = now,
    ) -> None:
        """Take the ledger, the table's path, and the board to write notices on."""
        self._books = books
        self._table = table
        self._board = board
        self.replaced: Callable[[], None] = _nobody  # tells the workers to read the table again
        self.caught_up: Callable[[], int] = _unknown  # up to when all workers' facts are folded
        self._clock = clock
        self._pen = asyncio.Lock()
        self._dirty = asyncio.Event()

    async def tell(self, notices: Sequence[Notice]) -> None:
        """Put committed changes into force; raises UnavailableError if the disk refuses.

        They are in the ledger even then, and in force when the table can be written again.
        """
        self._dirty.set()
        try:
            if len(notices) > _MOST_NOTICES:
                await self.write()
                return
            async with self._pen:
                await asyncio.to_thread(self._board.tell, notices)
        except OSError as problem:
            _log.error("suppression notices: %s", problem.strerror)
            raise UnavailableError(
                f"it is stored, but the workers cannot be told now ({problem.strerror}); "
                "they will follow as soon as the disk allows"
            ) from None

    async def write(self) -> int:
        """Rewrite the table; give its length."""
        async with self._pen:
            as_of = self.caught_up()
            at = self._clock()

            def entries(connection: Connection) -> dict[int, str]:
                return {
                    table_entry(row.account, row.scope, row.within, row.recipient_key): (
                        table_reason(row.scope, row.reason)
                    )
                    for row in in_force(connection, at)
                }

            self._dirty.clear()
            try:
                found = await self._books.read(entries)
                length = await asyncio.to_thread(write_table, self._table, found.items(), as_of)
            except BaseException:
                self._dirty.set()  # what was not written is still to be written
                raise
            if as_of:
                await asyncio.to_thread(self._board.drop_before, as_of)
        self.replaced()
        return length

    async def finish(self) -> None:
        """Write the table if anything changed since, and close the board."""
        if self._dirty.is_set():
            await self.write()
        self._board.close()

    async def keep_written(self) -> None:
        """Rewrite the table after changes; runs until cancelled."""
        while True:
            await self._dirty.wait()
            await asyncio.sleep(_REWRITE_SECONDS)
            try:
                await self.write()
            except (OSError, StorageError):  # notices hold meanwhile; a full disk may pass
                _log.exception("suppression table %s was not written", self._table)

    async def keep_expiring(self, changes: Changes) -> None:
        """Take out entries whose time is over; runs until cancelled."""
        while True:
            await asyncio.sleep(_EXPIRY_SECONDS)
            try:
                await expire(changes)
            except (StorageError, UnavailableError):
                _log.exception("suppressions did not expire; it is tried again")


def _nobody() -> None:
    """Stand in where no worker listens."""


def _unknown() -> int:
    """Stand in where nobody knows: then no notice is ever taken for known."""
    return 0


async def expire(changes: Changes) -> int:
    """Take out entries whose time is over; give their number."""

    def work(change: Change) -> int:
        columns = suppressions.c
        over = (columns.expires_at > 0) & (columns.expires_at <= change.at)
        rows = change.connection.execute(
            select(suppressions).where(over).limit(_EXPIRED_TOGETHER)
        ).all()
        ids = [row.id for row in rows]
        change.connection.execute(delete(suppressions).where(columns.id.in_(ids)))
        change.notices += [notice_of(row, "", change.at) for row in rows]
        return len(rows)

    total = 0
    while done := await changes.make(_CLOCKWORK, work, settings=False):
        total += done
    return total

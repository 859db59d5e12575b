"""Suppressions in bulk: CSV in, CSV out.

Guarantees: an import is one transaction; lines that cannot be taken are named with their number
and do not stop the others. An export streams by key in short transactions. A cell that a
spreadsheet would run as a formula gets an apostrophe in front, which the import takes off again.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, get_args

import msgspec
from sqlalchemy import Connection, select

from relay.control.caller import Caller, Scope
from relay.control.changes import Change, Changes
from relay.control.operations.accounts import account_for
from relay.control.operations.suppression_rows import (
    Suppress,
    SuppressionEntry,
    SuppressionKeys,
    entry_of,
    put,
)
from relay.control.operations.suppressions import Reason, SuppressionScope, regular_within
from relay.control.operations.words import (
    AccountId,
    Body,
    Entry,
    harmless_cell,
    original_cell,
    recipient_address,
)
from relay.control.parsing import MalformedError
from relay.control.route import route
from relay.errors import InvalidError
from relay.ledger.settings_tables import suppressions

MAX_IMPORT = 16 * 1024 * 1024
_MAX_LINES = 200_000
_MAX_NAMED = 100
_CHUNK = 2000
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_COLUMNS = ("recipient", "scope", "within", "reason", "note", "created_at", "expires_at")


class ImportQuery(Body, frozen=True):
    """Where imported addresses go; columns `scope`, `within` and `reason` win over it."""

    account: AccountId | None = None
    scope: SuppressionScope = "account"
    within: Annotated[str, msgspec.Meta(max_length=253)] = ""
    reason: Reason = "import"


class RefusedLine(Entry, frozen=True):
    """A line of an import that was not taken."""

    line: int
    why: str


class ImportResult(Entry, frozen=True):
    """What became of an import."""

    added: int
    known: int  # suppressed there already
    refused: int
    refused_lines: tuple[RefusedLine, ...]  # the first hundred


class ExportQuery(Body, frozen=True):
    """What to export."""

    account: AccountId | None = None


class SuppressionFiles:
    """Operations on suppressions in bulk."""

    def __init__(self, changes: Changes, keys: SuppressionKeys) -> None:
        """Take the door to the ledger and what turns addresses into keys."""
        self._changes = changes
        self._keys = keys

    @route(
        "POST",
        "/suppressions/import",
        scope=Scope.WRITE,
        consumes="text/csv",
        max_body=MAX_IMPORT,
    )
    async def import_(self, caller: Caller, query: ImportQuery, body: bytes) -> ImportResult:
        """Import addresses from CSV: one per line, or columns named in a first line.

        Columns are `recipient`, `scope`, `within`, `reason` and `note`; others are passed over.
        """
        caller.demand_all_domains()
        try:
            text = body.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise MalformedError("the file is not UTF-8") from None
        regular_within(query.scope, query.within)

        def work(change: Change) -> ImportResult:
            account = account_for(change.connection, caller, query.account)
            added = known = 0
            refused: list[RefusedLine] = []
            for number, cells in _lines(text):
                try:
                    wanted = _wanted(account, query, cells)
                except InvalidError as problem:
                    refused.append(RefusedLine(line=number, why=problem.detail))
                    continue
                if put(change, self._keys, wanted) is None:
                    known += 1
                else:
                    added += 1
            result = ImportResult(
                added=added,
                known=known,
                refused=len(refused),
                refused_lines=tuple(refused[:_MAX_NAMED]),
            )
            change.audit(
                "suppression.import",
                f"{added} addresses",
                account=account,
                after={"added": added, "known": known, "refused": len(refused)},
            )
            return result

        return await self._changes.make(caller, work, settings=False)

    @route("GET", "/suppressions/export", scope=Scope.READ, produces="text/csv")
    async def export(self, caller: Caller, query: ExportQuery) -> AsyncIterator[bytes]:
        """Export suppressions as CSV, all that the caller may see or those of one account."""
        caller.demand_all_domains()
        if query.account is not None:
            caller.own("account", query.account)
        return self._export(query.account if query.account is not None else caller.account)

    async def _export(self, account: int | None) -> AsyncIterator[bytes]:
        yield _csv([_COLUMNS])
        wanted = select(suppressions).order_by(suppressions.c.id).limit(_CHUNK)
        if account is not None:
            wanted = wanted.where(suppressions.c.account == account)
        last = 0
        while True:
            following = wanted.where(suppressions.c.id > last)

            def work(connection: Connection, chunk: object = following) -> list[SuppressionEntry]:
                return [entry_of(row) for row in connection.execute(chunk)]  # type: ignore[call-overload] # a Select

            entries = await self._changes.read(work)
            if not entries:
                return
            last = entries[-1].id
            yield _csv([_row(entry) for entry in entries])


def _lines(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Give each line's number and its cells by column."""
    columns: list[str] = ["recipient"]
    try:
        for row in (reader := csv.reader(io.StringIO(text), strict=True)):
            if reader.line_num > _MAX_LINES:
                raise InvalidError(f"more than {_MAX_LINES} lines; import in parts")
            cells = [original_cell(cell.strip()) for cell in row]
            if not any(cells):
                continue
            if reader.line_num == 1 and "recipient" in cells:
                columns = cells
                continue
            yield reader.line_num, dict(zip(columns, cells, strict=False))
    except csv.Error as problem:
        raise MalformedError(f"not CSV: {problem}") from None


def _wanted(account: int, query: ImportQuery, cells: dict[str, str]) -> Suppress:
    scope = cells.get("scope") or query.scope
    if scope not in ("account", "domain", "campaign", "tracking"):
        raise InvalidError(f"the scope {scope!r} is none of account, domain, campaign, tracking")
    reason = cells.get("reason") or query.reason
    if reason not in get_args(Reason):
        raise InvalidError(f"the reason {reason!r} is none of {', '.join(get_args(Reason))}")
    within = cells.get("within", query.within if scope == query.scope else "")
    if _CONTROL.search(within):
        raise InvalidError("a control character in `within`")
    return Suppress(
        account=account,
        scope=scope,
        within=regular_within(scope, within[:253]),
        recipient=recipient_address(cells.get("recipient", "")),
        reason=reason,
        note=_CONTROL.sub(" ", cells.get("note", ""))[:200],
    )


def _row(entry: SuppressionEntry) -> tuple[str, ...]:
    values = (getattr(entry, name) for name in _COLUMNS)
    return tuple(
        "" if value is None else value if isinstance(value, str) else value.isoformat()
        for value in values
    )


def _csv(rows: list[tuple[str, ...]]) -> bytes:
    written = io.StringIO()
    writer = csv.writer(written)  # CRLF between rows, as RFC 4180 says
    for row in rows:
        writer.writerow([harmless_cell(cell) for cell in row])
    return written.getvalue().encode("utf-8")

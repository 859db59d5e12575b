"""Block list (the tracking host answers 410) and pause list (dispatch does not send now).

Guarantees: both take hold in all workers within a second of the answer. Campaigns and domains are
an account's own; destinations concern the whole node, so a key bound to an account cannot set them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import Connection, Row, Table, delete, insert, select

from relay.control.caller import Caller, Scope
from relay.control.changes import Change, Changes
from relay.control.moments import shown
from relay.control.operations.accounts import account_for
from relay.control.operations.domains import domain_entry
from relay.control.operations.words import AccountId, Body, Entry, Note, domain_name
from relay.control.paging import Page, PageQuery, after, page
from relay.control.route import route
from relay.errors import ConflictError, InvalidError, NotFoundError
from relay.ledger.settings_tables import blocks, pauses

Value = Annotated[str, msgspec.Meta(max_length=2000, pattern=r"^(?![\s\S]*[\x00-\x1f\x7f])")]


class ListEntry(Entry, frozen=True):
    """One line of the block list or the pause list."""

    id: int
    account: int | None
    kind: str
    value: str
    reason: str
    created_at: datetime


class NewBlock(Body, frozen=True):
    """What to block: a campaign or a sending domain by name, a URL, or `host:NAME`."""

    kind: Literal["campaign", "domain", "destination"]
    value: Value
    account: AccountId | None = None
    reason: Note = ""


class NewPause(Body, frozen=True):
    """What to pause: an account, a campaign, a sending domain, or where mail goes to."""

    kind: Literal["account", "campaign", "domain", "destination"]
    value: Value = ""  # left out for an account
    account: AccountId | None = None
    reason: Note = ""


class ListQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which lines."""

    account: AccountId | None = None
    kind: str = ""


class _List:
    """What the two lists have in common: rows of (account, kind, value)."""

    def __init__(self, changes: Changes, table: Table, noun: str) -> None:
        self._changes = changes
        self._table = table
        self._noun = noun

    async def read(self, caller: Caller, query: ListQuery) -> Page[ListEntry]:
        caller.demand_all_domains()
        columns = self._table.c
        wanted = select(self._table).where(columns.id > after(query)).order_by(columns.id)
        if query.account is not None:
            caller.own("account", query.account)
            wanted = wanted.where(columns.account == query.account)
        if caller.account is not None:
            wanted = wanted.where(columns.account == caller.account)
        if query.kind:
            wanted = wanted.where(columns.kind == query.kind)
        wanted = wanted.limit(query.limit + 1)

        def work(connection: Connection) -> list[ListEntry]:
            return [_entry(row) for row in connection.execute(wanted)]

        return page(await self._changes.read(work), query.limit, lambda entry: entry.id)

    async def add(self, caller: Caller, body: NewBlock | NewPause) -> ListEntry:
        caller.demand_all_domains()
        columns = self._table.c

        def work(change: Change) -> ListEntry:
            account, value = _MEANING[body.kind](change.connection, caller, body)
            same = (columns.kind == body.kind, columns.value == value, columns.account == account)
            if (change.connection.execute(select(columns.id).where(*same))).first():
                raise ConflictError("it is on the list already", field="value")
            row = {
                "account": account,
                "kind": body.kind,
                "value": value,
                "reason": body.reason,
                "created_at": change.at,
            }
            made = change.connection.execute(insert(self._table).values(row).returning(columns.id))
            entry = self._one(change.connection, caller, made.scalar_one())
            change.audit(f"{self._noun}.add", value, account=account, after=entry)
            return entry

        return await self._changes.make(caller, work)

    async def remove(self, caller: Caller, id_: int) -> None:
        def work(change: Change) -> None:
            entry = self._one(change.connection, caller, id_)
            change.connection.execute(delete(self._table).where(self._table.c.id == id_))
            change.audit(f"{self._noun}.remove", entry.value, account=entry.account, before=entry)

        await self._changes.make(caller, work)

    def _one(self, connection: Connection, caller: Caller, id_: int) -> ListEntry:
        wanted = select(self._table).where(self._table.c.id == id_)
        row = (connection.execute(wanted)).one_or_none()
        if row is None or caller.domains or not caller.sees(row.account):
            raise NotFoundError(f"there is no such {self._noun}")
        return _entry(row)


class Blocks:
    """Operations on the block list."""

    def __init__(self, changes: Changes) -> None:
        """Take the door to the ledger."""
        self._list = _List(changes, blocks, "block")

    @route("GET", "/blocks", scope=Scope.READ)
    async def list_(self, caller: Caller, query: ListQuery) -> Page[ListEntry]:
        """List what is blocked."""
        return await self._list.read(caller, query)

    @route("POST", "/blocks", scope=Scope.WRITE, status=201)
    async def add(self, caller: Caller, body: NewBlock) -> ListEntry:
        """Block: links and pixels in mail already sent answer 410 within a second."""
        return await self._list.add(caller, body)

    @route("DELETE", "/blocks/{block}", scope=Scope.WRITE)
    async def remove(self, caller: Caller, block: int) -> None:
        """Lift a block."""
        await self._list.remove(caller, block)


class Pauses:
    """Operations on the pause list."""

    def __init__(self, changes: Changes) -> None:
        """Take the door to the ledger."""
        self._list = _List(changes, pauses, "pause")

    @route("GET", "/pauses", scope=Scope.READ)
    async def list_(self, caller: Caller, query: ListQuery) -> Page[ListEntry]:
        """List what is paused."""
        return await self._list.read(caller, query)

    @route("POST", "/pauses", scope=Scope.WRITE, status=201)
    async def add(self, caller: Caller, body: NewPause) -> ListEntry:
        """Pause: mail is accepted and waits."""
        return await self._list.add(caller, body)

    @route("DELETE", "/pauses/{pause}", scope=Scope.WRITE)
    async def remove(self, caller: Caller, pause: int) -> None:
        """Resume."""
        await self._list.remove(caller, pause)


_Meant = tuple[int | None, str]


def _account(connection: Connection, caller: Caller, body: NewBlock | NewPause) -> _Meant:
    if body.value:
        raise InvalidError("an account is named in `account`", field="value")
    return account_for(connection, caller, body.account), ""


def _campaign(connection: Connection, caller: Caller, body: NewBlock | NewPause) -> _Meant:
    if not body.value:
        raise InvalidError("expected a campaign's name", field="value")
    return account_for(connection, caller, body.account), body.value


def _domain(connection: Connection, caller: Caller, body: NewBlock | NewPause) -> _Meant:
    entry = domain_entry(connection, caller, body.value)
    return entry.account, entry.name


def _destination(_connection: Connection, caller: Caller, body: NewBlock | NewPause) -> _Meant:
    caller.demand_all_accounts()
    if isinstance(body, NewPause):
        return None, domain_name(body.value, "value")
    kind, _, rest = body.value.partition(":")
    if kind == "host":
        return None, f"host:{domain_name(rest, 'value')}"
    if kind not in ("http", "https"):
        raise InvalidError('expected a URL, or "host:example.com"', field="value")
    return None, body.value


_MEANING: dict[str, Callable[[Connection, Caller, NewBlock | NewPause], _Meant]] = {
    "account": _account,
    "campaign": _campaign,
    "domain": _domain,
    "destination": _destination,
}


def _entry(row: Row[Any]) -> ListEntry:
    return ListEntry(
        id=row.id,
        account=row.account,
        kind=row.kind,
        value=row.value,
        reason=row.reason,
        created_at=shown(row.created_at),
    )

"""Accounts: the customers of the relay.

Guarantees: an account is never deleted (statistics and tokens in mail name it); it is suspended.
Tracking switches are shown here and changed by `tracking.py` alone, with its confirmation.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from relay.control.caller import Caller, Scope
from relay.control.changes import Change, Changes
from relay.control.moments import shown
from relay.control.operations.words import Body, Count, Entry, Name
from relay.control.paging import Page, PageQuery, after, page
from relay.control.route import route
from relay.errors import ConflictError, NotFoundError
from relay.ledger.settings_tables import accounts
from relay.settings import Switch


class AccountEntry(Entry, frozen=True):
    """An account as it is shown."""

    id: int
    name: str
    opens: Switch
    clicks: Switch
    suspended: bool
    any_sender: bool  # may use From domains that are not registered for it
    messages_per_hour: int  # 0: no limit
    failure_notices: str  # to senders that asked for nothing; inherit: as the node's settings say
    created_at: datetime


class NewAccount(Body, frozen=True):
    """What an account is made from; its tracking starts switched off."""

    name: Name
    any_sender: bool = False
    messages_per_hour: Count = 0


class AccountChange(Body, frozen=True):
    """What to change of an account; what is left out stays."""

    name: Name | None = None
    suspended: bool | None = None
    any_sender: bool | None = None
    messages_per_hour: Count | None = None
    failure_notices: Literal["inherit", "on", "off"] | None = None


class AccountQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which accounts."""

    name: str = ""  # exactly this one


class Accounts:
    """Operations on accounts."""

    def __init__(self, changes: Changes) -> None:
        """Take the door to the ledger."""
        self._changes = changes

    @route("GET", "/accounts", scope=Scope.READ)
    async def list_(self, caller: Caller, query: AccountQuery) -> Page[AccountEntry]:
        """List the accounts that the caller may see."""
        wanted = select(accounts).where(accounts.c.id > after(query))
        if query.name:
            wanted = wanted.where(accounts.c.name == query.name)
        if caller.account is not None:
            wanted = wanted.where(accounts.c.id == caller.account)
        wanted = wanted.order_by(accounts.c.id).limit(query.limit + 1)

        def work(connection: Connection) -> list[AccountEntry]:
            return [_entry(row) for row in connection.execute(wanted)]

        return page(await self._changes.read(work), query.limit, lambda entry: entry.id)

    @route("GET", "/accounts/{account}", scope=Scope.READ)
    async def show(self, caller: Caller, account: int) -> AccountEntry:
        """Show one account."""
        caller.own("account", account)
        return await self._changes.read(lambda connection: account_entry(connection, account))

    @route("POST", "/accounts", scope=Scope.ADMIN, status=201)
    async def create(self, caller: Caller, body: NewAccount) -> AccountEntry:
        """Make an account."""
        caller.demand_all_accounts()

        def work(change: Change) -> AccountEntry:
            values = {**msgspec.structs.asdict(body), "created_at": change.at}
            try:
                made = change.connection.execute(
                    insert(accounts).values(values).returning(accounts.c.id)
                )
            except IntegrityError:
                raise _name_taken(body.name) from None
            entry = account_entry(change.connection, made.scalar_one())
            change.audit("account.create", entry.name, account=entry.id, after=entry)
            return entry

        return await self._changes.make(caller, work)

    @route("PATCH", "/accounts/{account}", scope=Scope.ADMIN)
    async def change(self, caller: Caller, account: int, body: AccountChange) -> AccountEntry:
        """Change, suspend or resume an account. A suspended one hands in no mail."""
        caller.demand_all_accounts()

        def work(change: Change) -> AccountEntry:
            before = account_entry(change.connection, account)
            given = {
                name: value
                for name, value in msgspec.structs.asdict(body).items()
                if value is not None
            }
            if given:
                statement = update(accounts).where(accounts.c.id == account).values(given)
                try:
                    change.connection.execute(statement)
                except IntegrityError:
                    raise _name_taken(str(body.name)) from None
            entry = account_entry(change.connection, account)
            change.audit("account.change", entry.name, account=account, before=before, after=entry)
            return entry

        return await self._changes.make(caller, work)


def account_entry(connection: Connection, account: int) -> AccountEntry:
    """Read one account; raises NotFoundError."""
    rows = connection.execute(select(accounts).where(accounts.c.id == account))
    row = rows.one_or_none()
    if row is None:
        raise NotFoundError("there is no such account")
    return _entry(row)


def account_for(connection: Connection, caller: Caller, asked: int | None) -> int:
    """Give the account something new belongs to: as asked, or the key's own.

    Raises NotFoundError for one that is not there or not the caller's.
    """
    chosen = asked if asked is not None else caller.account
    if chosen is None:
        raise NotFoundError("say which account: the key is not bound to one", field="account")
    caller.own("account", chosen)
    account_entry(connection, chosen)
    return chosen


def _name_taken(name: str) -> ConflictError:
    return ConflictError(f"there is an account named {name!r} already", field="name")


def _entry(row: Row[Any]) -> AccountEntry:
    return AccountEntry(
        id=row.id,
        name=row.name,
        opens=Switch(row.opens),
        clicks=Switch(row.clicks),
        suspended=row.suspended,
        any_sender=row.any_sender,
        messages_per_hour=row.messages_per_hour,
        failure_notices=row.failure_notices,
        created_at=shown(row.created_at),
    )

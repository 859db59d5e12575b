"""Suppressions: addresses that an account does not send to, and what made each of them.

Guarantees: an entry's scope is the account, one sending domain or one campaign, or "tracking" (the
recipient withdrew from being tracked: mail goes on, untracked, and hits are not recorded); an
address is in a scope once; every entry names its reason and, if a fact made it, the event.
Addresses are compared in lower case with the domain in A-labels. Workers follow within a second
(DESIGN section 2). Bulk import and export are in `suppression_files.py`, what facts suppress in
`suppression_facts.py`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import Connection, Row, delete, select

from relay.control.caller import Caller, Scope
from relay.control.changes import Change, Changes
from relay.control.moments import stored
from relay.control.operations.accounts import account_for
from relay.control.operations.suppression_rows import (
    Suppress,
    SuppressionEntry,
    SuppressionKeys,
    entry_of,
    notice_of,
    put,
)
from relay.control.operations.words import (
    AccountId,
    Body,
    Name,
    Note,
    Text,
    domain_name,
    recipient_address,
)
from relay.control.paging import Page, PageQuery, after, page
from relay.control.route import route
from relay.errors import ConflictError, InvalidError, NotFoundError
from relay.ledger.settings_tables import suppressions

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
SuppressionScope = Literal["account", "domain", "campaign", "tracking"]
Reason = Literal["manual", "hard-bounce", "soft-bounces", "complaint", "unsubscribe", "import"]


class NewSuppression(Body, frozen=True):
    """Which address to suppress, where, and why."""

    recipient: Text
    account: AccountId | None = None
    scope: SuppressionScope = "account"
    within: Annotated[str, msgspec.Meta(max_length=253)] = ""  # the domain or the campaign
    reason: Reason = "manual"
    note: Note = ""
    expires_at: Moment | None = None


class SuppressionQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which suppressions."""

    account: AccountId | None = None
    recipient: Text | None = None  # exactly this address
    search: Text | None = None  # part of the address
    scope: SuppressionScope | None = None
    within: Name | None = None
    reason: Reason | None = None


class Suppressions:
    """Operations on single suppressions."""

    def __init__(self, changes: Changes, keys: SuppressionKeys) -> None:
        """Take the door to the ledger and what turns addresses into keys."""
        self._changes = changes
        self._keys = keys

    @route("GET", "/suppressions", scope=Scope.READ)
    async def list_(self, caller: Caller, query: SuppressionQuery) -> Page[SuppressionEntry]:
        """Search suppressions."""
        caller.demand_all_domains()
        columns = suppressions.c
        wanted = select(suppressions).where(columns.id > after(query)).order_by(columns.id)
        if query.account is not None:
            caller.own("account", query.account)
            wanted = wanted.where(columns.account == query.account)
        if caller.account is not None:
            wanted = wanted.where(columns.account == caller.account)
        for name in ("scope", "within", "reason"):
            value = getattr(query, name)
            if value is not None:
                wanted = wanted.where(columns[name] == value)
        if query.recipient is not None:
            key = self._keys.of(recipient_address(query.recipient))
            wanted = wanted.where(columns.recipient_key == key)
        if query.search is not None:
            part = query.search.strip().lower()
            wanted = wanted.where(columns.recipient.contains(part, autoescape=True))
        wanted = wanted.limit(query.limit + 1)

        def work(connection: Connection) -> list[SuppressionEntry]:
            return [entry_of(row) for row in connection.execute(wanted)]

        return page(await self._changes.read(work), query.limit, lambda entry: entry.id)

    @route("GET", "/suppressions/{suppression}", scope=Scope.READ)
    async def show(self, caller: Caller, suppression: int) -> SuppressionEntry:
        """Show one suppression."""
        return await self._changes.read(lambda connection: _read(connection, caller, suppression))

    @route("POST", "/suppressions", scope=Scope.WRITE, status=201)
    async def add(self, caller: Caller, body: NewSuppression) -> SuppressionEntry:
        """Suppress an address."""
        caller.demand_all_domains()
        within = regular_within(body.scope, body.within)
        recipient = recipient_address(body.recipient)

        def work(change: Change) -> SuppressionEntry:
            account = account_for(change.connection, caller, body.account)
            wanted = Suppress(
                account=account,
                scope=body.scope,
                within=within,
                recipient=recipient,
                reason=body.reason,
                note=body.note,
                expires_at=stored(body.expires_at),
            )
            if wanted.expires_at and wanted.expires_at <= change.at:
                raise InvalidError("that moment is past", field="expires_at")
            id_ = put(change, self._keys, wanted)
            if id_ is None:
                raise ConflictError("this address is suppressed there already", field="recipient")
            entry = _read(change.connection, caller, id_)
            self._audit(change, "suppression.add", after=entry)
            return entry

        return await self._changes.make(caller, work, settings=False)

    @route("DELETE", "/suppressions/{suppression}", scope=Scope.WRITE)
    async def remove(self, caller: Caller, suppression: int) -> None:
        """Send to this address again."""

        def work(change: Change) -> None:
            row = _row(change.connection, caller, suppression)
            entry = entry_of(row)
            change.connection.execute(delete(suppressions).where(suppressions.c.id == suppression))
            change.notices.append(notice_of(row, "", change.at))
            self._audit(change, "suppression.remove", before=entry)

        await self._changes.make(caller, work, settings=False)

    def _audit(
        self,
        change: Change,
        action: str,
        *,
        before: SuppressionEntry | None = None,
        after: SuppressionEntry | None = None,
    ) -> None:
        """Name the recipient by its key: the audit log outlives an erased address."""
        one = after or before
        if one is None:
            return
        named = [
            entry and msgspec.structs.replace(entry, recipient="") for entry in (before, after)
        ]
        subject = f"recipient {self._keys.of(one.recipient)}"
        change.audit(action, subject, account=one.account, before=named[0], after=named[1])


def regular_within(scope: str, typed: str) -> str:
    """Give what a scope is about in its regular form; raises InvalidError."""
    if scope in ("account", "tracking"):
        if typed:
            raise InvalidError(f'the scope "{scope}" is about nothing within it', field="within")
        return ""
    if not typed:
        raise InvalidError(f"say which {scope}", field="within")
    return domain_name(typed, "within") if scope == "domain" else typed


def _read(connection: Connection, caller: Caller, suppression: int) -> SuppressionEntry:
    return entry_of(_row(connection, caller, suppression))


def _row(connection: Connection, caller: Caller, suppression: int) -> Row[Any]:
    wanted = select(suppressions).where(suppressions.c.id == suppression)
    row = connection.execute(wanted).one_or_none()
    if row is None or caller.domains or not caller.sees(row.account):
        raise NotFoundError("there is no such suppression")
    return row

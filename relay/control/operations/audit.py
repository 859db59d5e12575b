"""The audit log: who changed what, when, from what, to what. Written by every change, read here."""

from __future__ import annotations

from datetime import datetime

import msgspec
from sqlalchemy import Connection, select

from relay.control.caller import Caller, Scope
from relay.control.changes import Changes
from relay.control.moments import shown
from relay.control.operations.suppression_rows import SuppressionKeys
from relay.control.operations.words import AccountId, Entry, Text, recipient_address
from relay.control.paging import Page, PageQuery, after, page
from relay.control.route import route
from relay.ledger.settings_tables import audit


class AuditEntry(Entry, frozen=True):
    """One change."""

    id: int
    at: datetime
    actor: str  # "operator", or the API key's id and name
    action: str  # noun and verb, as in "domain.add"
    account: int | None
    subject: str
    before: msgspec.Raw  # the value before, as JSON; null where there was none
    after: msgspec.Raw


class AuditQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which changes; the newest come first."""

    account: AccountId | None = None
    action: str = ""
    subject: str = ""
    recipient: Text | None = None  # changes of suppressions of this address


class Audit:
    """Reading the audit log."""

    def __init__(self, changes: Changes, keys: SuppressionKeys) -> None:
        """Take the door to the ledger, and what turns addresses into keys."""
        self._changes = changes
        self._keys = keys

    @route("GET", "/audit", scope=Scope.READ)
    async def list_(self, caller: Caller, query: AuditQuery) -> Page[AuditEntry]:
        """List changes, newest first."""
        caller.demand_all_domains()
        wanted = select(audit).order_by(audit.c.id.desc()).limit(query.limit + 1)
        before = after(query)
        if before:
            wanted = wanted.where(audit.c.id < before)
        if query.account is not None:
            caller.own("account", query.account)
            wanted = wanted.where(audit.c.account == query.account)
        if caller.account is not None:
            wanted = wanted.where(audit.c.account == caller.account)
        if query.action:
            wanted = wanted.where(audit.c.action == query.action)
        subject = query.subject
        if query.recipient is not None:
            subject = f"recipient {self._keys.of(recipient_address(query.recipient))}"
        if subject:
            wanted = wanted.where(audit.c.subject == subject)

        def work(connection: Connection) -> list[AuditEntry]:
            return [
                AuditEntry(
                    id=row.id,
                    at=shown(row.at),
                    actor=row.actor,
                    action=row.action,
                    account=row.account,
                    subject=row.subject,
                    before=msgspec.Raw(row.before),
                    after=msgspec.Raw(row.after),
                )
                for row in connection.execute(wanted)
            ]

        return page(await self._changes.read(work), query.limit, lambda entry: entry.id)

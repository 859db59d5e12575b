"""Reports over HTTP: hand one in, look at those that could not be linked, get a feedback mailbox.

Guarantees: handing in a report does what the inbound door does with one (`relay.control.reports`);
a key bound to an account says something about that account's deliveries only.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from sqlalchemy import Connection, select

from bounces import verp
from metrics.events import Event, Kind
from metrics.fate import NUMBER
from relay.control.caller import Caller, Scope
from relay.control.changes import Changes
from relay.control.moments import shown
from relay.control.operations.accounts import account_for
from relay.control.operations.words import AccountId, Entry
from relay.control.paging import Page, PageQuery, after, page
from relay.control.reports import ReportDesk, Taken
from relay.control.route import route
from relay.errors import ConflictError, InvalidError
from relay.ids import to_text
from relay.ledger.intake import read_stored
from relay.ledger.tables import events
from relay.mail.keyring import KeyRing

_MAX_REPORT = 25 << 20
_UNLINKED = [
    NUMBER[kind] for kind in (Kind.BOUNCED, Kind.COMPLAINED, Kind.UNSUBSCRIBED, Kind.AUTOREPLIED)
]


class ReportQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the mail itself does not say."""

    address: Annotated[str, msgspec.Meta(max_length=320)] = ""  # envelope recipient it came to


class ReportEntry(Entry, frozen=True):
    """What was made of a report."""

    kind: str  # bounce, complaint, autoreply, unsubscribe, notice, other
    event: str  # the fact that was recorded, "" for none
    delivery: str  # whose it is, "" where it could not be linked
    linked_by: str  # return-path, message-id or copy
    recipient: str  # as the report says
    category: str
    reason: str
    suppressed: bool
    kept_because: str  # why nobody was suppressed
    why: str  # what decided the kind


class UnlinkedEntry(Entry, frozen=True):
    """A report that no delivery could be found for."""

    id: int
    at: datetime
    event: str
    account: int | None  # whose mailbox it came to, where that is known
    recipient: str
    category: str
    reason: str
    reply: str
    message_id: str  # of the returned copy
    subject: str


class UnlinkedQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which unlinked reports: the newest first."""


class MailboxQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose mailbox."""

    account: AccountId | None = None


class MailboxEntry(Entry, frozen=True):
    """Where a feedback loop may send its complaints."""

    address: str


class Reports:
    """Operations on what came back."""

    def __init__(self, changes: Changes, ring: KeyRing, return_path: str) -> None:
        """Take the ledger, the keys, and the domain of return paths."""
        self._changes = changes
        self._ring = ring
        self._return_path = return_path
        self.desk: ReportDesk | None = None  # set by whoever folds facts

    @route("POST", "/reports", scope=Scope.WRITE, consumes="message/rfc822", max_body=_MAX_REPORT)
    async def take(self, caller: Caller, query: ReportQuery, body: bytes) -> ReportEntry:
        """Hand in a bounce or a complaint as it was received."""
        caller.demand_all_domains()
        if not body:
            raise InvalidError("expected a mail as the body")
        if self.desk is None:
            raise ConflictError("no server runs here: reports are taken by a running one only")
        address = query.address.strip().strip("<>").encode("utf-8", "replace")
        return _taken(await self.desk.take(body, envelope=address, account=caller.account))

    @route("GET", "/reports/unlinked", scope=Scope.READ)
    async def unlinked(self, caller: Caller, query: UnlinkedQuery) -> Page[UnlinkedEntry]:
        """List reports that could not be linked to a delivery, newest first."""
        caller.demand_all_accounts()
        caller.demand_all_domains()
        columns = events.c
        wanted = select(columns.id, columns.body).where(
            columns.delivery == 0, columns.kind.in_(_UNLINKED)
        )
        if before := after(query):
            wanted = wanted.where(columns.id < before)
        wanted = wanted.order_by(columns.id.desc()).limit(query.limit + 1)

        def work(connection: Connection) -> list[UnlinkedEntry]:
            return [_unlinked(row.id, bytes(row.body)) for row in connection.execute(wanted)]

        return page(await self._changes.read(work), query.limit, lambda entry: entry.id)

    @route("GET", "/reports/mailbox", scope=Scope.READ)
    async def mailbox(self, caller: Caller, query: MailboxQuery) -> MailboxEntry:
        """Give a signed mailbox for feedback loops; what comes there is linked by its copy."""
        caller.demand_all_domains()
        if query.account is not None:
            caller.own("account", query.account)
        account = await self._changes.read(
            lambda connection: (
                account_for(connection, caller, query.account)
                if query.account is not None or caller.account is not None
                else 0
            )
        )
        address = verp.mint(
            0, account, self._return_path, self._ring, kind=verp.ReturnKind.FEEDBACK
        )
        return MailboxEntry(address=address.decode("ascii"))


def _taken(taken: Taken) -> ReportEntry:
    said = taken.consequence
    return ReportEntry(
        kind=taken.report.kind.value,
        event=taken.events[0].kind.value if taken.events else "",
        delivery=to_text(taken.found.delivery) if taken.found else "",
        linked_by=taken.found.how if taken.found else "",
        recipient=said.record.recipient if said.record else "",
        category=said.category,
        reason=said.reason,
        suppressed=any(event.scope for event in taken.events),
        kept_because=said.kept_because,
        why=taken.report.why,
    )


def _unlinked(id_: int, body: bytes) -> UnlinkedEntry:
    event: Event = read_stored(body)
    return UnlinkedEntry(
        id=id_,
        at=shown(event.at),
        event=event.kind.value,
        account=event.account or None,
        recipient=event.recipient,
        category=event.category,
        reason=event.reason,
        reply=event.reply,
        message_id=event.message_id,
        subject=event.subject,
    )

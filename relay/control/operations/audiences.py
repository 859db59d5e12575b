"""Audiences of a campaign: who opened, clicked, did neither, bounced, unsubscribed.

Guarantees: people only, unless everybody is asked for; those whose mail only machines opened are a
group of their own. A whole audience streams as CSV in short transactions.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Annotated

import msgspec

from relay.control.caller import Caller, Scope
from relay.control.moments import shown_or_none
from relay.control.operations.words import AccountId, Body, Entry, harmless_cell
from relay.control.paging import Cursor, Page, PageQuery, after, page
from relay.control.route import route
from relay.errors import NotFoundError
from relay.ids import to_text
from relay.ledger.audience import PAGE, Audience, Member, Wanted, audience_page
from relay.ledger.engine import Ledger

_COLUMNS = ("recipient", "delivery", "message", "template", "opened_at", "clicked_at")
Name = Annotated[str, msgspec.Meta(max_length=1000)]
CampaignName = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


class MemberEntry(Entry, frozen=True):
    """One delivery of an audience."""

    recipient: str
    delivery: str
    message: str
    template: str
    opened_at: datetime | None
    clicked_at: datetime | None


class WholeAudienceQuery(Body, frozen=True):
    """Which audience."""

    campaign: CampaignName
    group: Audience
    account: AccountId | None = None  # may be left out with a key that is bound to one
    sending_domain: Name = ""
    everybody: bool = False  # count what machines opened and clicked as well


class AudienceQuery(WholeAudienceQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A page of an audience."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=PAGE - 1)] = 500
    cursor: Cursor = ""


class Audiences:
    """Operations on audiences."""

    def __init__(self, ledger: Ledger) -> None:
        """Take the ledger, which is only read."""
        self._ledger = ledger

    @route("GET", "/audience", scope=Scope.READ)
    async def list_(self, caller: Caller, query: AudienceQuery) -> Page[MemberEntry]:
        """List who belongs to a group of a campaign's recipients."""
        wanted = _wanted(caller, query)
        start = after(PageQuery(cursor=query.cursor))
        found = await audience_page(self._ledger, wanted, after=start)
        some = page(found[: query.limit + 1], query.limit, lambda one: one.delivery)
        return Page(items=tuple(map(_entry, some.items)), next=some.next)

    @route("GET", "/audience.csv", scope=Scope.READ, produces="text/csv")
    async def whole(self, caller: Caller, query: WholeAudienceQuery) -> AsyncIterator[bytes]:
        """Export a whole group as CSV."""
        return self._csv(_wanted(caller, query))

    async def _csv(self, wanted: Wanted) -> AsyncIterator[bytes]:
        yield b"\xef\xbb\xbf" + _lines([_COLUMNS])
        last = 0
        while found := await audience_page(self._ledger, wanted, after=last):
            yield _lines([_row(_entry(member)) for member in found])
            last = found[-1].delivery


def _wanted(caller: Caller, query: WholeAudienceQuery) -> Wanted:
    account = query.account if query.account is not None else caller.account
    if account is None:
        raise NotFoundError("say which account: the key is not bound to one", field="account")
    caller.own("account", account)
    if caller.domains and query.sending_domain not in caller.domains:
        raise NotFoundError("there is no such sending domain", field="sending_domain")
    return Wanted(
        account=account,
        campaign=query.campaign,
        audience=query.group,
        everybody=query.everybody,
        sending_domain=query.sending_domain,
    )


def _entry(member: Member) -> MemberEntry:
    return MemberEntry(
        recipient=member.recipient,
        delivery=to_text(member.delivery),
        message=to_text(member.message),
        template=member.template,
        opened_at=shown_or_none(member.opened_at),
        clicked_at=shown_or_none(member.clicked_at),
    )


def _row(entry: MemberEntry) -> tuple[str, ...]:
    values = (getattr(entry, name) for name in _COLUMNS)
    return tuple(
        value.isoformat() if isinstance(value, datetime) else value or "" for value in values
    )


def _lines(rows: Sequence[Sequence[str]]) -> bytes:
    written = io.StringIO()
    csv.writer(written).writerows([harmless_cell(cell) for cell in row] for row in rows)
    return written.getvalue().encode("utf-8")

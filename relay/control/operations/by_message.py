"""Messages with what became of their deliveries: the vendors' "by email", as JSON and as CSV.

Guarantees: only what belongs to the caller's account (and domains) is found, newest first; a page
looks at a bounded number of deliveries. The CSV is read a page at a time while it is sent.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec

from relay.control.caller import Caller, Scope
from relay.control.moments import asked_for, shown_or_none, stored
from relay.control.operations.words import AccountId, Body, Entry, harmless_cell
from relay.control.paging import Cursor, Limit, Page, PageQuery, after, page
from relay.control.route import route
from relay.errors import InvalidError, NotFoundError
from relay.ids import to_text
from relay.ledger.by_message import MessageFigures, Wanted, messages_page
from relay.ledger.engine import Ledger

Name = Annotated[str, msgspec.Meta(max_length=1000)]
_AT_ONCE = 500


class MessageEntry(Entry, frozen=True):
    """A message with what became of its deliveries; opens and clicks are those of people."""

    message: str
    account: int
    sending_domain: str
    campaign: str
    template: str
    subject: str
    requested_at: datetime | None
    requested: int
    delivered: int
    bounced: int
    failed: int
    excluded: int
    opened_human: int
    clicked_human: int
    unsubscribed: int
    complained: int


class WholeMessageQuery(Body, frozen=True):
    """Which messages; newest first."""

    account: AccountId | None = None
    sending_domain: Name = ""
    campaign: Name | None = None
    template: Name | None = None
    since: Annotated[str, msgspec.Meta(max_length=40)] = ""  # handed in: 2026-11-01, or RFC 3339
    until: Annotated[str, msgspec.Meta(max_length=40)] = ""  # not included


class MessageQuery(WholeMessageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A page of messages."""

    limit: Limit = 50
    cursor: Cursor = ""


class ByMessage:
    """Operations on messages that were handed in."""

    def __init__(self, ledger: Ledger) -> None:
        """Take the ledger, which is only read."""
        self._ledger = ledger

    @route("GET", "/messages", scope=Scope.READ)
    async def list_(self, caller: Caller, query: MessageQuery) -> Page[MessageEntry]:
        """List messages with what became of their deliveries, such as those of a campaign."""
        before = after(PageQuery(cursor=query.cursor))
        wanted = _wanted(caller, query, before, query.limit)
        found = await messages_page(self._ledger, wanted)
        # A page goes on after its last item where one more than it holds is there.
        items = [*found.messages, *(found.messages[-1:] if found.more else ())]
        found_page = page(items, len(found.messages), lambda one: one.first)
        return Page(items=tuple(map(_entry, found_page.items)), next=found_page.next)

    @route("GET", "/messages.csv", scope=Scope.READ, produces="text/csv")
    async def whole(self, caller: Caller, query: WholeMessageQuery) -> AsyncIterator[bytes]:
        """Export all messages that `GET /messages` would list, as CSV."""
        return self._csv(_wanted(caller, query, 0, _AT_ONCE))

    async def _csv(self, wanted: Wanted) -> AsyncIterator[bytes]:
        columns = MessageEntry.__struct_fields__
        yield b"\xef\xbb\xbf" + _lines([columns])
        while True:
            found = await messages_page(self._ledger, wanted)
            if found.messages:
                yield _lines([_row(_entry(one)) for one in found.messages])
            if not (found.more and found.messages):
                return
            wanted = msgspec.structs.replace(wanted, before=found.messages[-1].first)


def domain_asked(caller: Caller, asked: str) -> str:
    """Give the sending domain to look at: the one that was asked for, or a key's only one.

    Raises NotFoundError for another than the key's, InvalidError where it has several.
    """
    if not caller.domains:
        return asked
    if asked and asked not in caller.domains:
        raise NotFoundError("there is no such sending domain", field="sending_domain")
    if not asked and len(caller.domains) > 1:
        raise InvalidError("say which sending domain; the key has some", field="sending_domain")
    return asked or next(iter(caller.domains))


def _wanted(caller: Caller, query: WholeMessageQuery, before: int, limit: int) -> Wanted:
    if query.account is not None:
        caller.own("account", query.account)
    zone = ZoneInfo("UTC")
    since = asked_for(query.since, zone, "since") if query.since else None
    until = asked_for(query.until, zone, "until") if query.until else None
    return Wanted(
        account=query.account if query.account is not None else caller.account,
        sending_domain=domain_asked(caller, query.sending_domain),
        campaign=query.campaign,
        template=query.template,
        since=stored(since),
        until=stored(until),
        before=before,
        limit=limit,
    )


def _entry(row: MessageFigures) -> MessageEntry:
    values = msgspec.structs.asdict(row)
    del values["first"]
    values["requested_at"] = shown_or_none(row.requested_at)
    return MessageEntry(**{**values, "message": to_text(row.message)})


def _row(entry: MessageEntry) -> tuple[str, ...]:
    values = (getattr(entry, name) for name in MessageEntry.__struct_fields__)
    return tuple(
        value.isoformat() if isinstance(value, datetime) else "" if value is None else str(value)
        for value in values
    )


def _lines(rows: Sequence[Sequence[str]]) -> bytes:
    written = io.StringIO()
    csv.writer(written).writerows([harmless_cell(cell) for cell in row] for row in rows)
    return written.getvalue().encode("utf-8")

"""Deliveries: the message log and the story of each, with the conversation of its last attempt.

Guarantees: only what belongs to the caller's account (and domains) is found, newest first, a page
costs the same at any depth. Ids are written as the SMTP answer writes them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from relay.control.caller import Caller, Scope
from relay.control.moments import shown, shown_or_none
from relay.control.operations.by_message import domain_asked
from relay.control.operations.words import AccountId, Entry, Text
from relay.control.paging import Page, PageQuery, after, page
from relay.control.route import route
from relay.errors import InvalidError, NotFoundError
from relay.ids import from_text, to_text
from relay.ledger.engine import Ledger
from relay.ledger.message_log import Logged, Search, Stage, search
from relay.ledger.story import Told, story

Name = Annotated[str, msgspec.Meta(max_length=1000)]


class DeliveryEntry(Entry, frozen=True):
    """One message to one recipient, as the log shows it."""

    id: str
    message: str
    account: int
    sending_domain: str
    campaign: str
    template: str
    tags: tuple[str, ...]
    recipient: str  # "" once the address was erased
    recipient_domain: str
    provider: str
    state: Stage
    reason: str
    requested_at: datetime | None
    final_at: datetime | None
    took_ms: int
    deferrals: int
    opens: int
    opened_at: datetime | None
    opened_human_at: datetime | None
    clicks: int
    clicked_at: datetime | None
    clicked_human_at: datetime | None
    unsubscribed_at: datetime | None
    complained_at: datetime | None
    message_id: str
    subject: str
    sender: str
    size: int
    tracked: str  # "opens", "clicks", "opens clicks" or ""
    skipped: str  # why it is not tracked although it should be
    node: str


class EventEntry(Entry, frozen=True, omit_defaults=True):
    """One event of a story; fields that say nothing are left out."""

    kind: str
    at: datetime
    attempt: int = 0
    category: str = ""
    reason: str = ""
    code: int = 0
    enhanced: str = ""
    reply: str = ""
    host: str = ""
    took_ms: int = 0
    returned: bool = False
    scope: str = ""
    nature: str = ""  # of a hit: human, prefetch, proxy, scanner, unknown
    platform: str = ""
    method: str = ""
    user_agent: str = ""
    address: str = ""
    link: int = 0
    url: str = ""


class StoryEntry(Entry, frozen=True):
    """What is known of a delivery."""

    delivery: DeliveryEntry
    events: tuple[EventEntry, ...]
    transcript: str  # of the last attempt


class DeliveryQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which deliveries; newest first."""

    account: AccountId | None = None
    recipient: Text = ""
    message: Annotated[str, msgspec.Meta(max_length=13)] = ""  # as the SMTP answer wrote it
    message_id: Name = ""  # the Message-ID field, with its angle brackets
    sending_domain: Name = ""
    campaign: Name = ""
    state: Stage | None = None


class Deliveries:
    """Operations on deliveries."""

    def __init__(self, ledger: Ledger) -> None:
        """Take the ledger, which is only read."""
        self._ledger = ledger

    @route("GET", "/deliveries", scope=Scope.READ)
    async def list_(self, caller: Caller, query: DeliveryQuery) -> Page[DeliveryEntry]:
        """Search the message log."""
        if query.account is not None:
            caller.own("account", query.account)
        only = query.account if query.account is not None else caller.account
        wanted = Search(
            accounts=None if only is None else (only,),
            recipient=query.recipient,
            message=_id(query.message, "message") if query.message else 0,
            message_id=query.message_id,
            sending_domain=domain_asked(caller, query.sending_domain),
            campaign=query.campaign,
            state=query.state,
            before=after(query),
            limit=query.limit + 1,
        )
        found = await search(self._ledger, wanted)
        found_page = page(found, query.limit, lambda one: one.id)
        return Page(items=tuple(map(_entry, found_page.items)), next=found_page.next)

    @route("GET", "/deliveries/{delivery}", scope=Scope.READ)
    async def show(self, caller: Caller, delivery: str) -> StoryEntry:
        """Tell the story of one delivery: its events, and what was said at the last attempt."""
        missing = NotFoundError("there is no such delivery (any more)")
        try:
            told = await story(self._ledger, from_text(delivery))
        except (ValueError, KeyError):
            raise missing from None
        row = told.delivery
        if not caller.sees(row.account, row.sending_domain):
            raise missing
        return StoryEntry(
            delivery=_entry(row),
            events=tuple(map(_event, told.events)),
            transcript=told.transcript,
        )


def _id(text: str, field: str) -> int:
    try:
        return from_text(text)
    except ValueError as problem:
        raise InvalidError(str(problem), field=field) from None


def _entry(row: Logged) -> DeliveryEntry:
    values = msgspec.structs.asdict(row)
    for name in DeliveryEntry.__struct_fields__:
        if name.endswith("_at"):
            values[name] = shown_or_none(values[name])
    return DeliveryEntry(**{**values, "id": to_text(row.id), "message": to_text(row.message)})


def _event(told: Told) -> EventEntry:
    event = told.event
    values = {
        name: getattr(event, name)
        for name in EventEntry.__struct_fields__
        if hasattr(event, name) and name not in ("kind", "at")
    }
    if event.hit is not None:
        for name in ("method", "user_agent", "address", "link", "url"):
            values[name] = getattr(event.hit, name)
    values |= {"nature": told.nature, "platform": told.platform}
    return EventEntry(kind=event.kind.value, at=shown(event.at), **values)

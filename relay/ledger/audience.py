"""Audiences: who opened, clicked, did neither, bounced, unsubscribed ... of a campaign, page by
page.

Human-only by default; those whose mail only a machine opened (privacy prefetch, scanners) are a
group of their own. Pages go by delivery id in short transactions, so an export never holds the
ledger, however long its reader takes. A recipient who got several mails of a campaign appears once
per mail.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, and_, or_, select

from metrics.events import Kind
from metrics.fate import NUMBER
from relay.ledger import tables
from relay.ledger.engine import Ledger
from relay.ledger.state_walk import ends, walk

PAGE = 1000
_d, _m = tables.deliveries.c, tables.mailings.c
_ARRIVED = and_(_d.final == NUMBER[Kind.DELIVERED], _d.later_category.not_in(["hard", "soft"]))


class Audience(StrEnum):
    """The groups of a campaign's recipients."""

    OPENED = "opened"
    CLICKED = "clicked"
    NEITHER = "neither"  # delivered, neither opened nor clicked
    MACHINE_ONLY = "machine-only"  # opened or clicked, but by no person
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    BOUNCED_HARD = "bounced-hard"
    UNSUBSCRIBED = "unsubscribed"
    COMPLAINED = "complained"
    EXCLUDED = "excluded"


_TOUCHED = or_(_d.opened_at > 0, _d.clicked_at > 0)
_TOUCHED_BY_PEOPLE = or_(_d.opened_human_at > 0, _d.clicked_human_at > 0)
_BY_PEOPLE: dict[Audience, ColumnElement[bool]] = {
    Audience.OPENED: _d.opened_human_at > 0,
    Audience.CLICKED: _d.clicked_human_at > 0,
    Audience.NEITHER: and_(_ARRIVED, ~_TOUCHED_BY_PEOPLE),
}
_BY_ANYONE: dict[Audience, ColumnElement[bool]] = {
    Audience.OPENED: _d.opened_at > 0,
    Audience.CLICKED: _d.clicked_at > 0,
    Audience.NEITHER: and_(_ARRIVED, ~_TOUCHED),
    Audience.MACHINE_ONLY: and_(_TOUCHED, ~_TOUCHED_BY_PEOPLE),
    Audience.DELIVERED: _ARRIVED,
    Audience.BOUNCED: or_(
        _d.final == NUMBER[Kind.BOUNCED], _d.later_category.in_(["hard", "soft"])
    ),
    Audience.BOUNCED_HARD: or_(
        and_(_d.final == NUMBER[Kind.BOUNCED], _d.category == "hard"),
        _d.later_category == "hard",
    ),
    Audience.UNSUBSCRIBED: _d.unsubscribed_at > 0,
    Audience.COMPLAINED: _d.complained_at > 0,
    Audience.EXCLUDED: _d.final == NUMBER[Kind.EXCLUDED],
}


_BOUNCES = (
    tables.ended_as(NUMBER[Kind.BOUNCED]),
    tables.IN_STATE["deliveries_bounced_later"],
)
_RARE: dict[Audience, tuple[str, ...]] = {
    Audience.MACHINE_ONLY: (tables.IN_STATE["deliveries_machine_only"],),
    Audience.BOUNCED: _BOUNCES,
    Audience.BOUNCED_HARD: _BOUNCES,
    Audience.UNSUBSCRIBED: (tables.IN_STATE["deliveries_unsubscribed"],),
    Audience.COMPLAINED: (tables.IN_STATE["deliveries_complained"],),
    Audience.EXCLUDED: (tables.ended_as(NUMBER[Kind.EXCLUDED]),),
}
"""Groups that are few among a campaign's recipients, with the conditions of the indexes that hold
all of them: without these a page reads the campaign to its end."""


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery of an audience; times in microseconds, 0 for never."""

    delivery: int
    recipient: str
    message: int
    template: str
    opened_at: int
    clicked_at: int


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """An audience of one campaign of one account."""

    account: int
    campaign: str
    audience: Audience
    everybody: bool = False  # count machines' opens and clicks as well
    sending_domain: str = ""


async def audience_page(ledger: Ledger, wanted: Wanted, *, after: int = 0) -> list[Member]:
    """Give up to `PAGE` members with a delivery id above `after`, in order of it."""
    return await ledger.read(lambda connection: _page(connection, wanted, after))


async def whole_audience(ledger: Ledger, wanted: Wanted) -> AsyncIterator[Member]:
    """Give every member, reading a page at a time."""
    after = 0
    while page := await audience_page(ledger, wanted, after=after):
        for member in page:
            yield member
        after = page[-1].delivery


def _page(connection: Connection, wanted: Wanted, after: int) -> list[Member]:
    condition = _BY_ANYONE[wanted.audience]
    if not wanted.everybody:
        condition = _BY_PEOPLE.get(wanted.audience, condition)
    rare = _RARE.get(wanted.audience)
    mailings = _mailings(connection, wanted)
    statement = _members(wanted).where(
        _d.mailing.in_(mailings),
        _d.id > after,
        _d.recipient != "",
        condition,  # "": erased
    )
    if rare is None:
        return _read(connection, statement)
    first, behind = ends(connection, mailings)
    found: list[Member] = []
    for ids in walk(connection, rare, max(first, after + 1), behind, at_first=2 * PAGE):
        found += _read(connection, statement.where(_d.id.in_(ids)))
        if len(found) >= PAGE:
            break
    return found[:PAGE]


def _mailings(connection: Connection, wanted: Wanted) -> list[int]:
    conditions = [_m.account == wanted.account, _m.campaign == wanted.campaign]
    if wanted.sending_domain:
        conditions.append(_m.sending_domain == wanted.sending_domain)
    return list(connection.scalars(select(_m.id).where(*conditions)))


def _members(wanted: Wanted) -> Select[Any]:
    opened, clicked = (
        (_d.opened_at, _d.clicked_at)
        if wanted.everybody or wanted.audience is Audience.MACHINE_ONLY
        else (_d.opened_human_at, _d.clicked_human_at)
    )
    return (
        select(
            _d.id.label("delivery"),
            _d.recipient,
            _d.message,
            _m.template,
            opened.label("opened_at"),
            clicked.label("clicked_at"),
        )
        .join(tables.mailings, _m.id == _d.mailing)
        .order_by(_d.id)
        .limit(PAGE)
    )


def _read(connection: Connection, statement: Select[Any]) -> list[Member]:
    return [Member(**row) for row in connection.execute(statement).mappings()]

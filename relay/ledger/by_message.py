"""Messages with what became of their deliveries: the vendors' "by email", newest first, by key.

A page looks at the `WINDOW` newest deliveries of what was asked for, so it costs the same however
deep it lies and however large the campaign. The deliveries of one message have ids in a row; a
message with more recipients than the window is given in parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select

from metrics.events import Kind
from metrics.fate import NUMBER
from relay.ids import lowest_at
from relay.ledger import tables
from relay.ledger.engine import Ledger

WINDOW = 5_000
_PER_MESSAGE = 8  # deliveries looked at first, for each message of a page
_MOST_MAILINGS = 50
_d, _m = tables.deliveries.c, tables.mailings.c
_LATER = _d.later_category.in_(["hard", "soft"])
_COUNTED = {
    "delivered": and_(_d.final == NUMBER[Kind.DELIVERED], ~_LATER),
    "bounced": or_(_d.final == NUMBER[Kind.BOUNCED], _LATER),
    "failed": and_(_d.final == NUMBER[Kind.FAILED], ~_LATER),
    "excluded": _d.final == NUMBER[Kind.EXCLUDED],
    "opened_human": _d.opened_human_at > 0,
    "clicked_human": _d.clicked_human_at > 0,
    "unsubscribed": _d.unsubscribed_at > 0,
    "complained": _d.complained_at > 0,
}


class MessageFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One message; `first` is the smallest id of its deliveries that were counted."""

    message: int
    first: int
    account: int
    sending_domain: str
    campaign: str
    template: str
    subject: str
    requested_at: int
    requested: int
    delivered: int
    bounced: int
    failed: int
    excluded: int
    opened_human: int
    clicked_human: int
    unsubscribed: int
    complained: int


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which messages; what is empty does not matter. `account` None: of every account."""

    account: int | None = None
    sending_domain: str = ""
    campaign: str | None = None
    template: str | None = None
    since: int = 0  # microseconds: handed in from then on, and before `until`; 0 for any time
    until: int = 0
    before: int = 0  # only deliveries with a smaller id: `first` of the last one given
    limit: int = 50


class MessagesPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some messages; `more` when older ones are left, which `before` the last one's `first` gives.

    A page may hold fewer than asked for and still not be the last.
    """

    messages: tuple[MessageFigures, ...]
    more: bool


async def messages_page(ledger: Ledger, wanted: Wanted) -> MessagesPage:
    """Give up to `limit` messages, newest first, in one short transaction."""
    return await ledger.read(lambda connection: _page(connection, wanted))


def _page(connection: Connection, wanted: Wanted) -> MessagesPage:
    """Look at some of the newest deliveries, and at more where these are of too few messages."""
    few = min(WINDOW, _PER_MESSAGE * wanted.limit)
    page = _look(connection, wanted, few)
    if page.more and len(page.messages) < wanted.limit and few < WINDOW:
        page = _look(connection, wanted, WINDOW)
    return page


def _look(connection: Connection, wanted: Wanted, window: int) -> MessagesPage:
    ids = _newest(connection, wanted, window)
    if not ids:
        return MessagesPage(messages=(), more=False)
    first = func.min(_d.id)
    statement = (
        select(
            _d.message,
            _d.mailing,
            first.label("first"),
            func.max(_d.subject).label("subject"),
            func.min(_d.requested_at).label("requested_at"),
            func.count().label("requested"),
            *(func.sum(case((holds, 1), else_=0)).label(name) for name, holds in _COUNTED.items()),
        )
        .where(_d.id >= ids[-1], _d.id <= ids[0])
        .where(_d.id.in_(ids) if window < WINDOW else _among(connection, wanted))
        .group_by(_d.message, _d.mailing)
        .order_by(first.desc())
    )
    rows = [dict(row) for row in connection.execute(statement).mappings()]
    full = len(ids) == window
    if full and len(rows) > 1:
        rows.pop()  # the window may have cut it; the next page begins with it
    more = full or len(rows) > wanted.limit
    return MessagesPage(messages=_named(connection, rows[: wanted.limit]), more=more)


def _named(connection: Connection, rows: list[dict[str, Any]]) -> tuple[MessageFigures, ...]:
    """Put in what mailings are called."""
    columns = [_m[name] for name in ("id", "account", "sending_domain", "campaign", "template")]
    numbers = {row["mailing"] for row in rows}
    found = connection.execute(select(*columns).where(_m.id.in_(numbers))).mappings()
    names = {row["id"]: {n: v for n, v in row.items() if n != "id"} for row in found}
    made = [{**row, **names[row["mailing"]]} for row in rows]
    return tuple(
        MessageFigures(**{name: row[name] for name in MessageFigures.__struct_fields__})
        for row in made
    )


def _newest(connection: Connection, wanted: Wanted, window: int) -> list[int]:
    """Give the newest ids of what is wanted, up to the window."""
    # Ids grow with time, so a stretch of time is a stretch of ids.
    below = min(wanted.before or 1 << 62, lowest_at(wanted.until) if wanted.until else 1 << 62)
    newest = and_(_d.id < below, _d.id >= (lowest_at(wanted.since) if wanted.since else 0))
    mailings = _mailings(connection, wanted)
    if mailings is not None and len(mailings) <= _MOST_MAILINGS:
        each: Sequence[ColumnElement[bool]] = [_d.mailing == one for one in mailings]
    else:
        each = [_among(connection, wanted)]
    found: set[int] = set()
    for one in each:
        statement = select(_d.id).where(one, newest).order_by(_d.id.desc()).limit(window)
        found.update(connection.scalars(statement))
    return sorted(found, reverse=True)[:window]


def _among(connection: Connection, wanted: Wanted) -> ColumnElement[bool]:
    mailings = _mailings(connection, wanted)
    return _d.mailing != 0 if mailings is None else _d.mailing.in_(mailings)


def _mailings(connection: Connection, wanted: Wanted) -> list[int] | None:
    conditions = []
    if wanted.account is not None:
        conditions.append(_m.account == wanted.account)
    if wanted.sending_domain:
        conditions.append(_m.sending_domain == wanted.sending_domain)
    if wanted.campaign is not None:
        conditions.append(_m.campaign == wanted.campaign)
    if wanted.template is not None:
        conditions.append(_m.template == wanted.template)
    if not conditions:
        return None
    return list(connection.scalars(select(_m.id).where(*conditions)))

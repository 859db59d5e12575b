"""Messages with what became of their deliveries: the vendors' "by email", newest first, by key.

A page looks at the `WINDOW` newest deliveries of what was asked for, so it costs the same however
deep it lies and however large the campaign. The deliveries of one message have ids in a row; a
message with more recipients than the window is given in parts.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select

from metrics.events import Kind
from metrics.fate import NUMBER
from relay.ledger import tables
from relay.ledger.engine import Ledger

WINDOW = 5_000
_MOST_MAILINGS = 50
_d, _m = tables.deliveries.c, tables.mailings.c
_LATER = _d.later_category.in_(["hard", "soft"])


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
    ids = _newest(connection, wanted)
    if not ids:
        return MessagesPage(messages=(), more=False)
    counted = {
        "delivered": and_(_d.final == NUMBER[Kind.DELIVERED], ~_LATER),
        "bounced": or_(_d.final == NUMBER[Kind.BOUNCED], _LATER),
        "failed": and_(_d.final == NUMBER[Kind.FAILED], ~_LATER),
        "excluded": _d.final == NUMBER[Kind.EXCLUDED],
        "opened_human": _d.opened_human_at > 0,
        "clicked_human": _d.clicked_human_at > 0,
        "unsubscribed": _d.unsubscribed_at > 0,
        "complained": _d.complained_at > 0,
    }
    first = func.min(_d.id)
    statement = (
        select(
            _d.message,
            first.label("first"),
            *(_m[name] for name in ("account", "sending_domain", "campaign", "template")),
            func.max(_d.subject).label("subject"),
            func.min(_d.requested_at).label("requested_at"),
            func.count().label("requested"),
            *(func.sum(case((holds, 1), else_=0)).label(name) for name, holds in counted.items()),
        )
        .join(tables.mailings, _m.id == _d.mailing)
        .where(_d.id.in_(select(_d.id).where(_among(connection, wanted), _d.id >= ids[-1])))
        .where(_d.id <= ids[0])
        .group_by(_d.message, _m.account, _m.sending_domain, _m.campaign, _m.template)
        .order_by(first.desc())
    )
    found = [MessageFigures(**row) for row in connection.execute(statement).mappings()]
    full = len(ids) == WINDOW
    if full and len(found) > 1:
        found.pop()  # the window may have cut it; the next page begins with it
    more = full or len(found) > wanted.limit
    return MessagesPage(messages=tuple(found[: wanted.limit]), more=more)


def _newest(connection: Connection, wanted: Wanted) -> list[int]:
    """Give the newest ids of what is wanted, up to the window."""
    newest = _d.id < (wanted.before or 1 << 62)
    mailings = _mailings(connection, wanted)
    if mailings is not None and len(mailings) <= _MOST_MAILINGS:
        each: Sequence[ColumnElement[bool]] = [_d.mailing == one for one in mailings]
    else:
        each = [_among(connection, wanted)]
    found: set[int] = set()
    for one in each:
        statement = select(_d.id).where(one, newest).order_by(_d.id.desc()).limit(WINDOW)
        found.update(connection.scalars(statement))
    return sorted(found, reverse=True)[:WINDOW]


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

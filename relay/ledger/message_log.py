"""The message log: deliveries found by recipient, message, campaign or state, newest first, by key.

A page begins where the last one ended (`before`, a delivery id) and looks at a bounded number of
rows, so it costs the same however deep it lies, and nothing is skipped or shown twice while mail
goes on. State
is worked out from the merged facts; recipients are looked up by their keyed hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec
from msgspec.structs import replace
from sqlalchemy import ColumnElement, Connection, and_, not_, select

from metrics.events import Kind
from metrics.fate import KINDS, NUMBER
from relay.ledger import tables
from relay.ledger.engine import Ledger
from relay.ledger.recipient_keys import load_recipient_keys
from relay.ledger.state_walk import ends, nth_newest, walk

MOST_AT_ONCE = 1000
_WINDOW = 50_000
_STATE_WINDOW = 10_000
_WINDOWS = 20
_MOST_MAILINGS = 50


class Stage(StrEnum):
    """Where a delivery stands, as people search for it."""

    WAITING = "waiting"
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    FAILED = "failed"
    EXCLUDED = "excluded"
    REJECTED = "rejected"
    OPENED = "opened"
    CLICKED = "clicked"
    UNSUBSCRIBED = "unsubscribed"
    COMPLAINED = "complained"


class Logged(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery as the log shows it. Times are microseconds since the epoch, 0 for never."""

    id: int
    message: int
    account: int
    sending_domain: str
    campaign: str
    template: str
    recipient: str  # "" when the recipient was erased
    recipient_domain: str
    provider: str
    tags: tuple[str, ...]
    state: Stage  # waiting, deferred, or how it ended; a bounce by mail makes it bounced
    reason: str
    requested_at: int
    final_at: int
    took_ms: int
    deferrals: int
    opens: int
    opened_at: int
    opened_human_at: int
    clicks: int
    clicked_at: int
    clicked_human_at: int
    unsubscribed_at: int
    complained_at: int
    message_id: str
    subject: str
    sender: str
    size: int
    tracked: str
    skipped: str
    node: str


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """What to look for; what is empty does not matter. `accounts` None: of every account."""

    accounts: tuple[int, ...] | None = None
    recipient: str = ""
    message: int = 0
    message_id: str = ""
    sending_domain: str = ""
    campaign: str = ""
    state: Stage | None = None
    before: int = 0  # only deliveries with a smaller id: the last one of the page before
    limit: int = 50


_d, _m = tables.deliveries.c, tables.mailings.c
_BOUNCED_LATER = _d.later_category.in_(["hard", "soft"])
_STATES: dict[Stage, ColumnElement[bool]] = {
    Stage.WAITING: and_(_d.final == 0, _d.deferrals == 0, not_(_BOUNCED_LATER)),
    Stage.DEFERRED: and_(_d.final == 0, _d.deferrals > 0, not_(_BOUNCED_LATER)),
    Stage.DELIVERED: and_(_d.final == NUMBER[Kind.DELIVERED], not_(_BOUNCED_LATER)),
    Stage.BOUNCED: (_d.final == NUMBER[Kind.BOUNCED]) | _BOUNCED_LATER,
    Stage.FAILED: and_(_d.final == NUMBER[Kind.FAILED], not_(_BOUNCED_LATER)),
    Stage.EXCLUDED: _d.final == NUMBER[Kind.EXCLUDED],
    Stage.REJECTED: _d.final == NUMBER[Kind.REJECTED],
    Stage.OPENED: _d.opened_at > 0,
    Stage.CLICKED: _d.clicked_at > 0,
    Stage.UNSUBSCRIBED: _d.unsubscribed_at > 0,
    Stage.COMPLAINED: _d.complained_at > 0,
}


_INDEXED: dict[Stage, tuple[str, ...]] = {
    Stage.WAITING: (tables.IN_STATE["deliveries_unfinished"],),
    Stage.DEFERRED: (tables.IN_STATE["deliveries_unfinished"],),
    Stage.BOUNCED: (
        tables.ended_as(NUMBER[Kind.BOUNCED]),
        tables.IN_STATE["deliveries_bounced_later"],
    ),
    Stage.FAILED: (tables.ended_as(NUMBER[Kind.FAILED]),),
    Stage.EXCLUDED: (tables.ended_as(NUMBER[Kind.EXCLUDED]),),
    Stage.REJECTED: (tables.ended_as(NUMBER[Kind.REJECTED]),),
    Stage.OPENED: (tables.IN_STATE["deliveries_opened"],),
    Stage.CLICKED: (tables.IN_STATE["deliveries_clicked"],),
    Stage.UNSUBSCRIBED: (tables.IN_STATE["deliveries_unsubscribed"],),
    Stage.COMPLAINED: (tables.IN_STATE["deliveries_complained"],),
}
"""The states that have an index, with its condition; that holds all of the state, and little
more."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the log. `next` goes into the next search's `before`; 0 when there is no more.

    A page may hold fewer deliveries than asked, even none, and still not be the last: one search
    looks at a bounded number of rows.
    """

    deliveries: tuple[Logged, ...]
    next: int


async def search(ledger: Ledger, wanted: Search) -> list[Logged]:
    """Give deliveries, newest first, up to the limit: what `search_page` finds, page after page.

    Looks at up to a million rows; a rarer state is found with `search_page` and its cursor, or with
    a narrower search. Raises ValueError for a limit outside 1 to `MOST_AT_ONCE`.
    """
    found: list[Logged] = []
    for _ in range(_WINDOWS):
        left = wanted.limit - len(found)
        page = await search_page(ledger, replace(wanted, limit=left) if found else wanted)
        found += page.deliveries
        if not page.next or len(found) == wanted.limit:
            break
        wanted = replace(wanted, before=page.next)
    return found


async def search_page(ledger: Ledger, wanted: Search) -> Page:
    """Give a page of deliveries, newest first, in one short transaction.

    Raises ValueError for a limit outside 1 to `MOST_AT_ONCE`.
    """
    if not 1 <= wanted.limit <= MOST_AT_ONCE:
        raise ValueError(f"limit {wanted.limit}: expected 1 to {MOST_AT_ONCE}")
    return await ledger.read(lambda connection: _search(connection, wanted))


def _search(connection: Connection, wanted: Search) -> Page:
    """Look at the fewest rows an index allows.

    By recipient or message that is few. Otherwise rows are walked from the newest down: those in
    the state asked for where it has an index, those of the mailings asked for where these are not
    many, else all; never more than a window of each.
    """
    conditions: list[ColumnElement[bool]] = [_d.mailing != 0, *_by_key(connection, wanted)]
    floor = 0
    mailings = _mailings(connection, wanted)
    if wanted.before:
        conditions.append(_d.id < wanted.before)
    if wanted.state is not None:
        conditions.append(_STATES[wanted.state])
    selective = wanted.recipient or wanted.message or wanted.message_id
    if wanted.state in _INDEXED and not selective:
        if mailings is not None:
            conditions.append(_d.mailing.in_(mailings))
        ids, floor = _in_state(connection, conditions, wanted, mailings)
    elif mailings is not None and len(mailings) <= _MOST_MAILINGS:
        if wanted.state is not None:
            floor = max((_floor(connection, wanted, one) for one in mailings), default=0)
        found: list[int] = []
        for mailing in mailings:
            found += _ids(connection, [*conditions, _d.mailing == mailing, _d.id >= floor], wanted)
        ids = sorted(found, reverse=True)[: wanted.limit]
    else:
        if mailings is not None:
            conditions.append(_d.mailing.in_(mailings))
        if not selective and (wanted.state is not None or mailings is not None):
            floor = _floor(connection, wanted, None)
        ids = _ids(connection, [*conditions, _d.id >= floor], wanted)
    full = len(ids) == wanted.limit
    return Page(deliveries=tuple(logged(connection, ids)), next=ids[-1] if full else floor)


def _by_key(connection: Connection, wanted: Search) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.recipient:
        key = load_recipient_keys(connection).of(wanted.recipient)
        conditions.append(_d.recipient_key == key)
    if wanted.message:
        conditions.append(_d.message == wanted.message)
    if wanted.message_id:
        conditions.append(_d.message_id == wanted.message_id)
    return conditions


def _mailings(connection: Connection, wanted: Search) -> list[int] | None:
    """Give the mailings a search is about; None when it is about all."""
    conditions: list[ColumnElement[bool]] = []
    if wanted.accounts is not None:
        conditions.append(_m.account.in_(wanted.accounts))
    if wanted.sending_domain:
        conditions.append(_m.sending_domain == wanted.sending_domain)
    if wanted.campaign:
        conditions.append(_m.campaign == wanted.campaign)
    if not conditions:
        return None
    return list(connection.scalars(select(_m.id).where(*conditions)))


def _in_state(
    connection: Connection,
    conditions: Sequence[ColumnElement[bool]],
    wanted: Search,
    mailings: list[int] | None,
) -> tuple[list[int], int]:
    """Give the ids found by the index of a state, and the smallest looked at, 0 for all.

    Mail of some mailings lies between their first and last ids: only that stretch is looked at.
    """
    first, last = 0, wanted.before or 1 << 62
    if mailings is not None and len(mailings) <= _MOST_MAILINGS:
        first, behind = ends(connection, mailings)
        last = min(last, behind)
    words = _INDEXED[wanted.state or Stage.WAITING]
    floor = max(nth_newest(connection, each, first, last, _STATE_WINDOW) for each in words)
    found: list[int] = []
    for ids in walk(
        connection, words, max(first, floor), last, newest_first=True, at_first=2 * wanted.limit
    ):
        found += _ids(connection, [*conditions, _d.id.in_(ids)], wanted)
        if len(found) >= wanted.limit:
            break
    return found[: wanted.limit], floor


def _floor(connection: Connection, wanted: Search, mailing: int | None) -> int:
    """Give the smallest id one search looks at; 0 when it may look at all that is left."""
    conditions = [_d.id < wanted.before] if wanted.before else []
    if mailing is not None:
        conditions.append(_d.mailing == mailing)
    statement = select(_d.id).where(*conditions).order_by(_d.id.desc()).offset(_WINDOW).limit(1)
    return connection.scalar(statement) or 0


def _ids(
    connection: Connection, conditions: Sequence[ColumnElement[bool]], wanted: Search
) -> list[int]:
    statement = select(_d.id).where(*conditions).order_by(_d.id.desc()).limit(wanted.limit)
    return list(connection.scalars(statement))


def logged(connection: Connection, ids: Sequence[int]) -> list[Logged]:
    """Read deliveries with their mailing, in the order of their ids as given; unknown ones not."""
    named = (_m.account, _m.sending_domain, _m.campaign, _m.template)
    statement = select(*named, *_d).join(tables.mailings, _m.id == _d.mailing).where(_d.id.in_(ids))
    rows = {row["id"]: _logged(row) for row in connection.execute(statement).mappings()}
    return [rows[one] for one in ids if one in rows]


def _logged(row: Any) -> Logged:
    later = row["later_category"] in {"hard", "soft"}
    if later:
        state = Stage.BOUNCED
    elif row["final"]:
        state = Stage(KINDS[row["final"]].value)
    else:
        state = Stage.DEFERRED if row["deferrals"] else Stage.WAITING
    own = {name: row[name] for name in Logged.__struct_fields__ if name in row}
    own["tags"] = tuple(row["tags"].split("\n")) if row["tags"] else ()
    own["reason"] = row["later_reason"] if later else row["reason"]
    return Logged(state=state, **own)

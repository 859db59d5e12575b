"""The story of a delivery: its row, its events in order, the conversation of its last attempt."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, select

from metrics.events import Event
from metrics.hits import Nature
from relay.ledger import tables
from relay.ledger.engine import Ledger
from relay.ledger.intake import read_stored
from relay.ledger.message_log import Logged, logged

MOST_EVENTS = 1000


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a story; `nature` and `platform` where it is a hit."""

    event: Event
    nature: str = ""
    platform: str = ""


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one delivery. `events` are in order of time, at most `MOST_EVENTS`."""

    delivery: Logged
    events: tuple[Told, ...]
    transcript: str = ""  # of the last attempt that has one


async def story(ledger: Ledger, delivery: int) -> Story:
    """Tell a delivery's story; raises KeyError for one that is not in the ledger (any more)."""
    return await ledger.read(lambda connection: _story(connection, delivery))


def _story(connection: Connection, delivery: int) -> Story:
    found = logged(connection, [delivery])
    if not found:
        raise KeyError(delivery)
    e = tables.events.c
    rows = connection.execute(
        select(e.body, e.nature, e.platform)
        .where(e.delivery == delivery)
        .order_by(e.at, e.id)
        .limit(MOST_EVENTS)
    )
    told = tuple(
        Told(
            event=read_stored(bytes(row.body)),
            nature=Nature(row.nature).label if row.nature else "",
            platform=row.platform or "",
        )
        for row in rows
    )
    transcripts = [t.event.transcript for t in told if t.event.transcript]
    return Story(delivery=found[0], events=told, transcript=transcripts[-1] if transcripts else "")

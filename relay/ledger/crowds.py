"""Distinct recipients: from sightings to sketches, and counting over both.

The fold appends a sighting per recipient, measure and hour. `absorb` moves them into sketches by
hour, by day, and by day and recipient domain; both are idempotent unions, so a crash or a repeated
fact changes nothing. Counting reads the sketches in range and the sightings not absorbed yet, which
`absorb` keeps few. A sketch cannot forget: where a correction takes somebody out (a person's open
turns out a machine's, a delivery bounces later) the fold marks the cell stale, and `rebuild` makes
it anew from rows and events.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

from sqlalchemy import Connection, delete, func, select

from metrics.distinct import Crowd, add_to
from metrics.events import Kind
from metrics.fate import NUMBER
from metrics.hits import COUNTS_AS_HUMAN
from metrics.intervals import DAY, HOUR, MICROSECONDS
from metrics.measures import (
    CLICKS,
    CLICKS_HUMAN,
    COMPLAINTS,
    DELIVERED,
    OPENS,
    OPENS_HUMAN,
    REQUESTED,
    UNSUBSCRIBES,
)
from metrics.questions import Plan, Question
from metrics.sheet import DOMAIN
from relay.ledger import sealing, tables
from relay.ledger.narrowing import group_columns, narrowed
from relay.ledger.statements import prepared, run_many

Group = tuple[str, ...]
Cell = tuple[int, str, int, int, str]  # measure, grain, start, mailing, value

ABSORB_AT = 20_000
"""Sightings that may wait: what a question about recipients reads besides sketches."""
_PUT = (
    "INSERT INTO sketches (measure, grain, start, mailing, value, sketch) "
    "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (measure, grain, start, mailing, value) "
    "DO UPDATE SET sketch = excluded.sketch"
)
_EVENTS_OF = {
    OPENS: Kind.OPENED,
    OPENS_HUMAN: Kind.OPENED,
    CLICKS: Kind.CLICKED,
    CLICKS_HUMAN: Kind.CLICKED,
    UNSUBSCRIBES: Kind.UNSUBSCRIBED,
    COMPLAINTS: Kind.COMPLAINED,
}


def waiting(connection: Connection) -> int:
    """Give the number of sightings not absorbed yet."""
    return connection.scalar(select(func.count()).select_from(tables.sightings)) or 0


def any_stale(connection: Connection) -> bool:
    """Tell whether a sketch holds somebody who does not belong there any more."""
    return connection.scalar(select(tables.stale.c.start).limit(1)) is not None


def absorb(connection: Connection) -> int:
    """Move all sightings into sketches; gives how many there were."""
    s = tables.sightings.c
    last = connection.scalar(select(func.max(s.id)))
    if last is None:
        return 0
    rows = connection.execute(
        select(s.measure, s.start, s.mailing, s.recipient_domain, s.recipient_key)
    ).fetchall()
    _add(connection, rows)
    connection.execute(delete(tables.sightings).where(s.id <= last))
    return len(rows)


def _add(connection: Connection, rows: Iterable[tuple[int, int, int, str, int]]) -> None:
    seen = list(rows)
    put_away = sealing.resolved_values(
        connection,
        {(DOMAIN, start // DAY * DAY, mailing, domain) for _, start, mailing, domain, _ in seen},
    )
    crowds: dict[Cell, set[int]] = {}
    for measure, start, mailing, domain, key in seen:
        day = (DOMAIN, start // DAY * DAY, mailing, domain)
        for cell in _cells(measure, start, mailing, put_away.get(day, domain)):
            crowds.setdefault(cell, set()).add(key)
    known = dict(_sketches(connection, crowds))
    run_many(
        connection,
        _PUT,
        [(*cell, add_to(known.get(cell), crowds[cell])) for cell in sorted(crowds)],
    )


def _cells(measure: int, start: int, mailing: int, domain: str) -> tuple[Cell, Cell, Cell]:
    day = start // DAY * DAY
    return (
        (measure, "hour", start, mailing, ""),
        (measure, "day", day, mailing, ""),
        (measure, "domain", day, mailing, domain),
    )


def _sketches(connection: Connection, cells: Iterable[Cell]) -> Iterator[tuple[Cell, bytes]]:
    """Read the sketches of some cells: a range per measure, grain, start and mailing."""
    statement = prepared(
        connection,
        "SELECT value, sketch FROM sketches "
        "WHERE measure = ? AND grain = ? AND start = ? AND mailing = ?",
    )
    wanted = set(cells)
    for measure, grain, start, mailing in sorted({cell[:4] for cell in wanted}):
        found = connection.exec_driver_sql(statement, (measure, grain, start, mailing))
        for value, sketch in found.fetchall():
            cell = (measure, grain, start, mailing, value)
            if cell in wanted:
                yield cell, bytes(sketch)


def count(
    connection: Connection, question: Question, planned: Plan, measure: int
) -> dict[tuple[Group, int], int]:
    """Count distinct recipients per group and interval."""
    found: dict[tuple[Group, int], Crowd] = {}

    def crowd(group: Iterable[object], start: int) -> Crowd:
        index = max(bisect_right(planned.bounds, start) - 1, 0)
        return found.setdefault((tuple(map(str, group)), index), Crowd())

    k = tables.sketches
    statement = select(k.c.start, k.c.sketch, *group_columns(question, k.c.value)).select_from(k)
    statement = statement.where(k.c.measure == measure, k.c.grain == planned.recipient_grain)
    for start, sketch, *group in connection.execute(narrowed(statement, question, k, k.c.value)):
        crowd(group, start).add_sketch(bytes(sketch))
    s = tables.sightings
    domain = s.c.recipient_domain
    statement = select(s.c.start, s.c.recipient_key, *group_columns(question, domain))
    statement = statement.select_from(s).where(s.c.measure == measure)
    for start, key, *group in connection.execute(narrowed(statement, question, s, domain)):
        crowd(group, start).add(key)
    return {at: crowd.count() for at, crowd in found.items()}


def rebuild(connection: Connection) -> int:
    """Make stale cells anew from rows and events; gives how many hours were touched.

    A whole day of a mailing is made anew, because its day's sketch holds the hour that is stale.
    """
    t = tables.stale.c
    stale = connection.execute(select(t.measure, t.start, t.mailing)).fetchall()
    if not stale:
        return 0
    absorb(connection)
    for measure, day, mailing in sorted({(m, start // DAY * DAY, n) for m, start, n in stale}):
        k = tables.sketches.c
        connection.execute(
            delete(tables.sketches).where(
                k.measure == measure,
                k.mailing == mailing,
                k.start >= day,
                k.start < day + DAY,
            )
        )
        _add(connection, _seen(connection, measure, day, mailing))
    connection.execute(delete(tables.stale))
    return len(stale)


def _seen(
    connection: Connection, measure: int, day: int, mailing: int
) -> list[tuple[int, int, int, str, int]]:
    """Find who belongs into a day's sketches, from what is in the ledger."""
    d, e = tables.deliveries.c, tables.events.c
    since, until = day * MICROSECONDS, (day + DAY) * MICROSECONDS
    if measure in {REQUESTED, DELIVERED}:
        moment = d.requested_at if measure == REQUESTED else d.final_at
        statement = select(moment, d.recipient_domain, d.recipient_key).where(d.mailing == mailing)
        if measure == DELIVERED:
            statement = statement.where(
                d.final == NUMBER[Kind.DELIVERED],
                d.later_category.in_(["", "ignored"]),
            )
    else:
        moment = e.at
        statement = (
            select(e.at, d.recipient_domain, d.recipient_key)
            .join(tables.deliveries, d.id == e.delivery)
            .where(d.mailing == mailing, e.kind == NUMBER[_EVENTS_OF[measure]])
        )
        if measure in {OPENS_HUMAN, CLICKS_HUMAN}:
            statement = statement.where(e.nature.in_([int(n) for n in COUNTS_AS_HUMAN]))
    rows = connection.execute(statement.where(moment >= since, moment < until))
    return [
        (measure, at // MICROSECONDS // HOUR * HOUR, mailing, domain, key)
        for at, domain, key in rows
        if key
    ]

"""Distinct recipients: from sightings to sketches, and counting over both.

The fold appends a sighting per recipient, measure and hour. `absorb` moves them into sketches by
hour, by day, and by day and recipient domain; both are idempotent unions, so a crash or a repeated
fact changes nothing. Counting reads the sketches in range and the sightings not absorbed yet, which
`absorb` keeps few. A sketch cannot forget: where a correction takes somebody out (a person's open
turns out a machine's, a delivery bounces later) the fold marks the cell stale, and `rebuild` makes
it anew from rows and events.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, select

from metrics.distinct import add_to
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
from metrics.sheet import DOMAIN
from relay.ledger import sealing, tables
from relay.ledger.changed_days import count_changes
from relay.ledger.statements import Row, fetch_all, run_many

Cell = tuple[int, str, int, int, str]  # measure, grain, start, mailing, value

Sighting = tuple[int, int, int, str, int]  # measure, hour, mailing, recipient domain, recipient key

TIMES_AT, DOMAINS_AT = 5_000, 100_000
"""Sightings that may wait: what a question about recipients reads besides sketches, without and
with recipient domains."""
_ABSORBED = "absorbed"
_SIGHTINGS = "SELECT measure, start, mailing, recipient_domain, recipient_key FROM sightings"
_SKETCHES = (
    "SELECT value, sketch FROM sketches "
    "WHERE measure = ? AND grain = ? AND start = ? AND mailing = ?"
)
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


class Waiting(NamedTuple):
    """Sightings that are not in sketches yet: of time, and of recipient domains."""

    times: int
    domains: int

    @property
    def many(self) -> bool:
        """Tell whether it is time to absorb."""
        return self.times >= TIMES_AT or self.domains >= DOMAINS_AT


def waiting(connection: Connection) -> Waiting:
    """Give the number of sightings not absorbed yet."""
    s = tables.sightings.c
    first, last = connection.execute(select(func.min(s.id), func.max(s.id))).one()
    if last is None:
        return Waiting(0, 0)
    return Waiting(last - max(absorbed(connection), first - 1), last - first + 1)


def any_stale(connection: Connection) -> bool:
    """Tell whether a sketch holds somebody who does not belong there any more."""
    return connection.scalar(select(tables.stale.c.start).limit(1)) is not None


def absorb(connection: Connection) -> int:
    """Move all sightings into sketches; gives how many there were."""
    return _absorb(connection, domains=True)


def absorb_some(connection: Connection) -> int:
    """Absorb what has become too much to be read with every question."""
    return _absorb(connection, domains=waiting(connection).domains >= DOMAINS_AT)


def _absorb(connection: Connection, *, domains: bool) -> int:
    """Put sightings into the sketches by time; with `domains` also into those by recipient domain.

    There are as many sketches by domain as a day has domains: they are touched more rarely, and
    only then the sightings go.
    """
    s = tables.sightings.c
    last = connection.scalar(select(func.max(s.id)))
    if last is None:
        return 0
    upto = absorbed(connection)
    new = fetch_all(connection, f"{_SIGHTINGS} WHERE id > ?", (upto,))
    _add(connection, _by_time(new))
    if not domains:
        _store_absorbed(connection, last)
        return len(new)
    rows = new if not upto else fetch_all(connection, _SIGHTINGS)
    _add(connection, _by_domain(connection, rows))
    connection.execute(delete(tables.sightings).where(s.id <= last))
    _store_absorbed(connection, 0)
    return len(rows)


def absorbed(connection: Connection) -> int:
    """Give the last sighting that is in the sketches by time already; 0 for none."""
    p = tables.parameters.c
    value = connection.scalar(select(p.value).where(p.name == _ABSORBED))
    return int(bytes(value)) if value is not None else 0


def _store_absorbed(connection: Connection, last: int) -> None:
    p, value = tables.parameters.c, str(last).encode()
    stored = connection.execute(
        tables.parameters.update().where(p.name == _ABSORBED).values(value=value)
    )
    if not stored.rowcount:
        connection.execute(tables.parameters.insert().values(name=_ABSORBED, value=value))


def _by_time(rows: Iterable[Row]) -> dict[Cell, set[int]]:
    hours: dict[tuple[int, int, int], set[int]] = {}
    for measure, start, mailing, _, key in rows:
        at = measure, start, mailing
        known = hours.get(at)
        if known is None:
            hours[at] = {key}
        else:
            known.add(key)
    crowds: dict[Cell, set[int]] = {}
    for (measure, start, mailing), keys in hours.items():
        crowds[measure, "hour", start, mailing, ""] = keys
        crowds.setdefault((measure, "day", start // DAY * DAY, mailing, ""), set()).update(keys)
    return crowds


def _by_domain(connection: Connection, rows: Iterable[Row]) -> dict[Cell, set[int]]:
    hours: dict[tuple[int, int, int, str], set[int]] = {}
    for measure, start, mailing, domain, key in rows:
        at = measure, start, mailing, domain
        known = hours.get(at)
        if known is None:
            hours[at] = {key}
        else:
            known.add(key)
    put_away = sealing.resolved_values(
        connection,
        {(DOMAIN, start // DAY * DAY, mailing, domain) for _, start, mailing, domain in hours},
    )
    crowds: dict[Cell, set[int]] = {}
    for (measure, start, mailing, domain), keys in hours.items():
        day = start // DAY * DAY
        value = put_away.get((DOMAIN, day, mailing, domain), domain)
        crowds.setdefault((measure, "domain", day, mailing, value), set()).update(keys)
    return crowds


def _add(connection: Connection, crowds: dict[Cell, set[int]]) -> None:
    known = dict(_sketches(connection, crowds))
    run_many(
        connection,
        _PUT,
        [(*cell, add_to(known.get(cell), crowds[cell])) for cell in sorted(crowds)],
    )
    count_changes(connection, {cell[2:4] for cell in crowds})


def _sketches(connection: Connection, cells: Iterable[Cell]) -> Iterator[tuple[Cell, bytes]]:
    """Read the sketches of some cells: a range per measure, grain, start and mailing."""
    wanted = set(cells)
    for measure, grain, start, mailing in sorted({cell[:4] for cell in wanted}):
        for value, sketch in fetch_all(connection, _SKETCHES, (measure, grain, start, mailing)):
            cell = (measure, grain, start, mailing, value)
            if cell in wanted:
                yield cell, bytes(sketch)


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
        count_changes(connection, [(day, mailing)])
        seen = _seen(connection, measure, day, mailing)
        _add(connection, _by_time(seen))
        _add(connection, _by_domain(connection, seen))
    connection.execute(delete(tables.stale))
    return len(stale)


def _seen(connection: Connection, measure: int, day: int, mailing: int) -> list[Sighting]:
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

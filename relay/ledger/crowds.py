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
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, delete, func, select

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
from metrics.questions import Plan, Question, UnanswerableError
from metrics.sheet import DOMAIN
from relay.ledger import sealing, tables
from relay.ledger.narrowing import group_columns, narrowed
from relay.ledger.statements import prepared, run_many

Group = tuple[str, ...]
Cell = tuple[int, str, int, int, str]  # measure, grain, start, mailing, value

Sighting = tuple[int, int, int, str, int]  # measure, hour, mailing, recipient domain, recipient key

TIMES_AT, DOMAINS_AT = 5_000, 100_000
"""Sightings that may wait: what a question about recipients reads besides sketches, without and
with recipient domains."""
MOST_CROWDS = 10_000
_MOST_NAMED = 500
_ABSORBED = "absorbed"
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
    return Waiting(last - max(_absorbed(connection), first - 1), last - first + 1)


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
    columns = (s.measure, s.start, s.mailing, s.recipient_domain, s.recipient_key)
    upto = _absorbed(connection)
    new = connection.execute(select(*columns).where(s.id > upto)).fetchall()
    _add(connection, _by_time(map(tuple, new)))
    if not domains:
        _store_absorbed(connection, last)
        return len(new)
    rows = new if not upto else connection.execute(select(*columns)).fetchall()
    _add(connection, _by_domain(connection, list(map(tuple, rows))))
    connection.execute(delete(tables.sightings).where(s.id <= last))
    _store_absorbed(connection, 0)
    return len(rows)


def _absorbed(connection: Connection) -> int:
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


def _by_time(rows: Iterable[Sighting]) -> dict[Cell, set[int]]:
    crowds: dict[Cell, set[int]] = {}
    for measure, start, mailing, _, key in rows:
        crowds.setdefault((measure, "hour", start, mailing, ""), set()).add(key)
        crowds.setdefault((measure, "day", start // DAY * DAY, mailing, ""), set()).add(key)
    return crowds


def _by_domain(connection: Connection, rows: Sequence[Sighting]) -> dict[Cell, set[int]]:
    put_away = sealing.resolved_values(
        connection,
        {(DOMAIN, start // DAY * DAY, mailing, domain) for _, start, mailing, domain, _ in rows},
    )
    crowds: dict[Cell, set[int]] = {}
    for measure, start, mailing, domain, key in rows:
        day = start // DAY * DAY
        value = put_away.get((DOMAIN, day, mailing, domain), domain)
        crowds.setdefault((measure, "domain", day, mailing, value), set()).add(key)
    return crowds


def _add(connection: Connection, crowds: dict[Cell, set[int]]) -> None:
    known = dict(_sketches(connection, crowds))
    run_many(
        connection,
        _PUT,
        [(*cell, add_to(known.get(cell), crowds[cell])) for cell in sorted(crowds)],
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
    connection: Connection,
    question: Question,
    planned: Plan,
    measure: int,
    only: Sequence[Group] | None = None,
) -> dict[tuple[Group, int], int]:
    """Count distinct recipients per group and interval; of `only` these groups where given.

    Raises UnanswerableError for more groups and intervals than can be counted at once.
    """
    found: dict[tuple[Group, int], Crowd] = {}
    wanted = None if only is None else set(only)

    def crowd(start: int, names: Iterable[object]) -> Crowd | None:
        group = tuple(map(str, names))
        if wanted is not None and group not in wanted:
            return None
        index = max(bisect_right(planned.bounds, start) - 1, 0)
        if len(found) > MOST_CROWDS:
            raise UnanswerableError(
                f"recipients of more than {MOST_CROWDS} groups and intervals; ask for the first "
                "so many groups (order_by, limit) or a shorter range"
            )
        return found.setdefault((group, index), Crowd())

    k, s = tables.sketches, tables.sightings
    by = group_columns(question, k.c.value)
    statement = select(k.c.start, k.c.sketch, *by).select_from(k)
    statement = statement.where(k.c.measure == measure, k.c.grain == planned.recipient_grain)
    for start, sketch, *group in connection.execute(
        narrowed(_only(statement, question, k.c.value, only), question, k, k.c.value)
    ):
        if (one := crowd(start, group)) is not None:
            one.add_sketch(bytes(sketch))
    domain = s.c.recipient_domain
    statement = select(s.c.start, s.c.recipient_key, *group_columns(question, domain))
    statement = statement.select_from(s).where(s.c.measure == measure)
    if planned.recipient_grain != "domain":
        statement = statement.where(s.c.id > _absorbed(connection))
    for start, key, *group in connection.execute(
        narrowed(_only(statement, question, domain, only), question, s, domain)
    ):
        if (one := crowd(start, group)) is not None:
            one.add(key)
    return {at: crowd.count() for at, crowd in found.items()}


def _only(
    statement: Select[Any],
    question: Question,
    value: ColumnElement[Any],
    groups: Sequence[Group] | None,
) -> Select[Any]:
    """Let the database leave out the recipient domains nobody asked for."""
    if groups is None or DOMAIN not in question.group_by or len(groups) > _MOST_NAMED:
        return statement
    place = question.group_by.index(DOMAIN)
    return statement.where(value.in_(sorted({group[place] for group in groups})))


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

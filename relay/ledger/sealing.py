"""Keeps facets bounded: two days on, a day's values beyond an account's top 1,000 become "other".

Totals stay exact: cells are moved, never dropped. A fact that comes later still for a value that
was not kept goes to "other" too, so a correction is taken from where its first count was moved to.
Kept are the values that most was counted for, ties by name. Sketches of recipient domains follow.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, select

from metrics.distinct import merged
from metrics.intervals import DAY
from metrics.measures import INDEX, NAMES, WIDTH
from metrics.sheet import DOMAIN, OTHER, Cell, add_cell
from relay.ledger import tables
from relay.ledger.changed_days import count_changes
from relay.ledger.statements import add_up, run_many

FacetKey = tuple[str, int, int, str]
FacetCells = dict[FacetKey, Cell]

KEPT = 1000
_WEIGHED_BY = tuple(
    INDEX[name]
    for name in (
        "requested", "opens", "clicks", "bounced_hard", "bounced_soft", "bounced_ignored",
        "later_hard", "later_soft", "failed", "excluded", "rejected",
    )
)  # fmt: skip
_LOOKS_BACK = 8 * DAY
_ADD = add_up(tables.facets, ["facet", "start", "mailing", "value"], NAMES)


class Day(NamedTuple):
    """What is sealed at once: one facet of one account on one day (start in seconds, UTC)."""

    facet: str
    start: int
    account: int


def resolve(connection: Connection, cells: FacetCells) -> FacetCells:
    """Give the cells as they are kept: values that a sealed day has put into "other" go there."""
    values = resolved_values(connection, cells)
    if not values:
        return cells
    found: FacetCells = {}
    for key, cell in cells.items():
        add_cell(found, (*key[:3], values.get(key, key[3])), cell)
    return found


def resolved_values(connection: Connection, keys: Iterable[FacetKey]) -> dict[FacetKey, str]:
    """Give, for those keys that lie in sealed days, the value they are kept under."""
    wanted = list(keys)
    starts = {key[1] for key in wanted}
    sealed = _sealed(connection, starts)
    if not sealed:
        return {}
    accounts = _accounts(connection, {key[2] for key in wanted if key[1] in starts})
    kept: dict[Day, set[str]] = {}
    found: dict[FacetKey, str] = {}
    for key in wanted:
        day = Day(key[0], key[1], accounts[key[2]])
        if day in sealed:
            if day not in kept:
                kept[day] = _values(connection, day)
            found[key] = key[3] if key[3] in kept[day] else OTHER
    return found


def _sealed(connection: Connection, starts: set[int]) -> set[Day]:
    s = tables.sealed.c
    if not starts:
        return set()
    rows = connection.execute(
        select(s.facet, s.start, s.account).where(s.start.between(min(starts), max(starts)))
    )
    return {Day(*row) for row in rows}


def _accounts(connection: Connection, wanted: set[int]) -> dict[int, int]:
    m = tables.mailings.c
    found = connection.execute(select(m.id, m.account).where(m.id.in_(sorted(wanted))))
    return {row.id: row.account for row in found}


def _of(day: Day) -> list[ColumnElement[bool]]:
    """Give the conditions that pick a day's cells."""
    f, m = tables.facets.c, tables.mailings.c
    of_account = select(m.id).where(m.account == day.account)
    return [f.facet == day.facet, f.start == day.start, f.mailing.in_(of_account)]


def _values(connection: Connection, day: Day) -> set[str]:
    return set(connection.scalars(select(tables.facets.c.value).where(*_of(day)).distinct()))


def seal(connection: Connection, before: int) -> int:
    """Seal every day that starts before `before` (seconds); gives the number of values put away."""
    f, m, s = tables.facets.c, tables.mailings.c, tables.sealed.c
    done = exists().where(and_(s.facet == f.facet, s.start == f.start, s.account == m.account))
    open_days = connection.execute(
        select(f.facet, f.start, m.account)
        .join(tables.mailings, m.id == f.mailing)
        .where(f.start < before, f.start >= before - _LOOKS_BACK, ~done)
        .distinct()
    ).fetchall()
    put_away = 0
    for row in open_days:
        day = Day(*row)
        put_away += _seal_day(connection, day)
        connection.execute(tables.sealed.insert().values(**day._asdict()))
    return put_away


def _seal_day(connection: Connection, day: Day) -> int:
    f = tables.facets.c
    rows = connection.execute(
        select(f.mailing, f.value, *(f[name] for name in NAMES)).where(*_of(day))
    ).fetchall()
    weights: dict[str, int] = {}
    for _, value, *cell in rows:
        weights[value] = weights.get(value, 0) + sum(cell[measure] for measure in _WEIGHED_BY)
    if len(weights) <= KEPT:
        return 0
    kept = set(sorted(weights, key=lambda value: (-weights[value], value))[:KEPT]) | {OTHER}
    tail: dict[int, Cell] = {}
    for mailing, value, *cell in rows:
        if value not in kept:
            add_cell(tail, mailing, dict(enumerate(cell)))
            connection.execute(
                delete(tables.facets).where(
                    f.facet == day.facet,
                    f.start == day.start,
                    f.mailing == mailing,
                    f.value == value,
                )
            )
    run_many(
        connection,
        _ADD,
        [
            (day.facet, day.start, mailing, OTHER, *[cell[n] for n in range(WIDTH)])
            for mailing, cell in sorted(tail.items())
        ],
    )
    count_changes(connection, [(day.start, mailing) for mailing in tail])
    if day.facet == DOMAIN:
        _seal_sketches(connection, day.start, sorted(tail), kept)
    return len(weights.keys() - kept)


def _seal_sketches(connection: Connection, start: int, mailings: list[int], kept: set[str]) -> None:
    """Merge the sketches of the domains that were put away, per measure and mailing."""
    k = tables.sketches.c
    for mailing in mailings:
        of_day = and_(k.grain == "domain", k.start == start, k.mailing == mailing)
        tail: dict[int, list[bytes]] = {}
        for measure, value, sketch in connection.execute(
            select(k.measure, k.value, k.sketch).where(of_day)
        ).fetchall():
            if value not in kept or value == OTHER:
                tail.setdefault(measure, []).append(bytes(sketch))
                connection.execute(
                    delete(tables.sketches).where(of_day, k.measure == measure, k.value == value)
                )
        for measure, sketches in tail.items():
            connection.execute(
                tables.sketches.insert().values(
                    measure=measure,
                    grain="domain",
                    start=start,
                    mailing=mailing,
                    value=OTHER,
                    sketch=merged(sketches),
                )
            )

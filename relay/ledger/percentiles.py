"""Percentiles of delivery times: buckets by hour, added up; of whole days kept in memory until
they change."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from metrics.catalogue import PERCENTILES
from metrics.durations import percentile
from metrics.intervals import DAY
from metrics.questions import Plan, Question
from relay.ledger import tables
from relay.ledger.changed_days import DayOf, days_of
from relay.ledger.kept import Kept
from relay.ledger.narrowing import Group, group_columns, narrowed
from relay.ledger.statements import fetch_all

MOST_DAYS = 5_000
_BYTES = 100  # of a bucket that is kept, about
_OF_DAY = (
    "SELECT mailing, bucket, sum(count) FROM durations "
    "WHERE start >= ? AND start < ? GROUP BY mailing, bucket"
)
Times = dict[tuple[Group, int], dict[int, int]]


def percentiles(
    connection: Connection, question: Question, planned: Plan, kept: Kept | None
) -> dict[tuple[Group, int], dict[str, float | None]]:
    """Give the percentiles of a plan by group and interval."""
    days = None
    if kept is not None and planned.grain == DAY:
        days = days_of(connection, question, MOST_DAYS)
    if kept is None or days is None:
        counts = _read(connection, question, planned)
    else:
        counts = _added_up(connection, planned, kept, days)
    return {
        at: {name: percentile(times, PERCENTILES[name]) for name in planned.percentiles}
        for at, times in counts.items()
    }


def _read(connection: Connection, question: Question, planned: Plan) -> Times:
    d = tables.durations
    by = group_columns(question, d.c.bucket)
    keys: list[ColumnElement[Any]] = [*by, d.c.start, d.c.bucket]
    statement = select(*keys, func.sum(d.c.count)).select_from(d)
    statement = narrowed(statement, question, d, d.c.bucket)
    counts: Times = {}
    for row in connection.execute(statement.group_by(*keys)).fetchall():
        index = max(bisect_right(planned.bounds, row[-3]) - 1, 0)
        times = counts.setdefault((tuple(map(str, row[: len(by)])), index), {})
        _add(times, {int(row[-2]): int(row[-1])})
    return counts


def _added_up(connection: Connection, planned: Plan, kept: Kept, days: list[DayOf]) -> Times:
    """Add up the days that are kept and those that have to be read."""
    missing: dict[int, list[DayOf]] = {}
    ready: list[tuple[DayOf, dict[int, int]]] = []
    for day in days:
        times = kept.get(_name(day), day.times)
        if times is None:
            missing.setdefault(day.start, []).append(day)
        else:
            ready.append((day, times))
    for start, some in missing.items():
        found: dict[int, dict[int, int]] = {day.mailing: {} for day in some}
        for mailing, bucket, count in fetch_all(connection, _OF_DAY, (start, start + DAY)):
            if mailing in found:
                found[mailing][int(bucket)] = int(count)
        for day in some:
            times = found[day.mailing]
            kept.put(_name(day), day.times, times, _BYTES * (len(times) + 2))
            ready.append((day, times))
    counts: Times = {}
    for day, times in ready:
        if times:
            index = max(bisect_right(planned.bounds, day.start) - 1, 0)
            _add(counts.setdefault((day.names, index), {}), times)
    return counts


def _name(day: DayOf) -> tuple[str, int, int]:
    return ("durations", day.start, day.mailing)


def _add(times: dict[int, int], more: dict[int, int]) -> None:
    for bucket, count in more.items():
        times[bucket] = times.get(bucket, 0) + count

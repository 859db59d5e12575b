"""Sums by the values of a facet from blocks kept in memory: what changed since is read, the rest
added up.

Reading cells costs more than a GROUP BY over them, so the first questions over a range are left to
SQL and each reads some blocks; those after them read what has changed. So are questions that name
values, or are over more mailings' days than fit.
"""

from __future__ import annotations

from bisect import bisect_right
from heapq import nsmallest

from sqlalchemy import Connection

from metrics.blocks import Block, Names, added_up, block
from metrics.catalogue import FACET_MEASURES, MAILING_DIMENSIONS, stored_parts
from metrics.questions import MOST_ROWS, Plan, Question, UnanswerableError, derive
from relay.ledger.changed_days import DayOf, days_of
from relay.ledger.kept import Kept
from relay.ledger.narrowing import Group
from relay.ledger.statements import fetch_all

MOST_DAYS = 800
ROWS_READ = 16_000  # by one question, in search of blocks: no answer waits for many
Sums = dict[tuple[Group, int], dict[str, int]]


def facet_sums(
    connection: Connection,
    question: Question,
    planned: Plan,
    kept: Kept,
) -> Sums | None:
    """Sum up a facet's cells by group and interval; None where SQL does better.

    Of the first so many groups, where only these are asked for, with all others of their values.
    """
    if not planned.facet or not planned.columns or planned.facet in question.where:
        return None
    days = days_of(connection, question, MOST_DAYS)
    if days is None:
        return None
    names = kept.names(planned.facet)
    gathered: dict[Group, dict[int, list[Block]]] = {}
    left = ROWS_READ
    for day in days:
        name, state = (planned.facet, day.start, day.mailing), (day.times, names)
        found = kept.get(name, state)
        if found is None:
            if left <= 0:
                return None  # the next question finds more kept
            found = _read(connection, planned.facet, day, names)
            kept.put(name, state, found, found.size)
            left -= len(found.values)
        index = max(bisect_right(planned.bounds, day.start) - 1, 0)
        gathered.setdefault(day.names, {}).setdefault(index, []).append(found)
    at = [name in MAILING_DIMENSIONS for name in question.group_by].index(False)
    few = _first(question, names, gathered, at)
    sums: Sums = {}
    for group, intervals in gathered.items():
        for index, blocks in intervals.items():
            for value, numbers in added_up(names, planned.columns, blocks, few):
                sums[(*group[:at], value, *group[at:]), index] = numbers
            if len(sums) > MOST_ROWS:
                raise UnanswerableError(
                    f"more than {MOST_ROWS} rows; ask a shorter range or fewer groups"
                )
    return sums


def _first(
    question: Question, names: Names, gathered: dict[Group, dict[int, list[Block]]], at: int
) -> list[str] | None:
    """Give the values of the groups that come first; None where all are wanted."""
    order_by = question.order_by
    if not (order_by and question.limit):
        return None
    parts = tuple(dict.fromkeys(stored_parts(order_by)))
    weights: list[tuple[float, Group, str]] = []  # in the order of groups: ties go by name
    for group, intervals in gathered.items():
        blocks = [one for some in intervals.values() for one in some]
        for value, numbers in added_up(names, parts, blocks, None):
            whole = (*group[:at], value, *group[at:])
            weights.append((-(derive(order_by, numbers) or 0), whole, value))
    return sorted({value for *_, value in nsmallest(question.limit, weights)})


def _read(connection: Connection, facet: str, day: DayOf, names: Names) -> Block:
    """Read a mailing's day of a facet."""
    measures = FACET_MEASURES[facet]
    rows = fetch_all(
        connection,
        f"SELECT value, {', '.join(measures)} FROM facets "  # noqa: S608 - names only
        "WHERE facet = ? AND start = ? AND mailing = ?",
        (facet, day.start, day.mailing),
    )
    return block(names, measures, rows)

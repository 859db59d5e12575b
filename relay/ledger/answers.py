"""Answers questions from the cubes: rows, rates with their denominators, distinct recipients,
percentiles.

The cost of an answer grows with the cells in its range, never with mails. Numbers are exact, but
for distinct recipients above `metrics.distinct.EXACT_UPTO`, whose error the answer states, and
percentiles, which come from buckets 19 % wide.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import ColumnElement, Connection, Table, func, select

from metrics.catalogue import DERIVED
from metrics.distinct import EXACT_UPTO, RELATIVE_ERROR
from metrics.intervals import DAY, HOUR, Interval, as_text
from metrics.questions import MOST_ROWS, Plan, Question, UnanswerableError, derive, plan
from relay.ledger import crowd_counts, tables
from relay.ledger.engine import Ledger
from relay.ledger.facet_sums import Sums, facet_sums
from relay.ledger.kept import Kept
from relay.ledger.narrowing import Group, group_columns, narrowed, values_named
from relay.ledger.percentiles import percentiles

Value = int | float | None
_CUBES = {DAY: tables.days, HOUR: tables.hours}


class AnswerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One interval of one group. `start` is ISO 8601 with the zone's offset."""

    start: str
    group: dict[str, str]
    values: dict[str, Value]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The rows in order of group and time, and what must be known to read them."""

    rows: tuple[AnswerRow, ...]
    denominators: dict[str, str]  # of each rate asked for
    notes: tuple[str, ...] = ()


async def answer(ledger: Ledger, question: Question) -> Answer:
    """Answer a question; raises UnanswerableError, with what can be asked, where the cubes
    cannot."""
    planned = plan(question)
    return await ledger.read(lambda connection: answer_now(connection, question, planned))


def answer_now(
    connection: Connection, question: Question, planned: Plan, kept: Kept | None = None
) -> Answer:
    """Answer on a connection that is inside a transaction; the same with what was `kept`."""
    sums = None if kept is None else facet_sums(connection, question, planned, kept)
    if sums is None:
        sums = _largest(connection, question, planned) or _sums(connection, question, planned)
    found: dict[tuple[Group, int], dict[str, Value]] = {}
    stored = [name for name in question.measures if name in planned.columns or name in DERIVED]
    for (group, index), cell in sums.items():
        found[group, index] = {name: derive(name, cell) for name in stored}
    first: list[Group] | None = None
    if question.limit and question.order_by:
        first = _ranked(question, sums, {group for group, _ in sums})
    crowds = crowd_counts.count(connection, question, planned, first, kept)
    for name, counts in crowds.items():
        for at, n in counts.items():
            found.setdefault(at, {})[name] = n
    if planned.percentiles:
        for at, times in percentiles(connection, question, planned, kept).items():
            found.setdefault(at, {}).update(times)
    groups = _ranked(question, sums, {group for group, _ in found})
    return Answer(
        rows=_rows(question, planned, groups, found),
        denominators={
            name: DERIVED[name].denominator
            for name in question.measures
            if name in DERIVED and DERIVED[name].over
        },
        notes=_notes(question, planned),
    )


def cube_of(planned: Plan) -> Table:
    """Give the table that holds the cells of a plan."""
    return tables.facets if planned.facet else _CUBES.get(planned.grain, tables.quarters)


def _largest(connection: Connection, question: Question, planned: Plan) -> Sums | None:
    """Answer for the first so many groups of a facet in two steps; None where that gains nothing.

    First only the measure that puts them in order is summed over all values, then all measures of
    the few values that are shown.
    """
    if not (planned.facet and question.limit and question.order_by):
        return None
    alone = msgspec.structs.replace(
        question, measures=(question.order_by,), interval=Interval.TOTAL
    )
    ranking = _sums(connection, alone, plan(alone))
    first = _ranked(question, ranking, {group for group, _ in ranking})
    few = values_named(question, first)
    return None if few is None else _sums(connection, question, planned, few)


def _sums(
    connection: Connection, question: Question, planned: Plan, few: Sequence[str] | None = None
) -> Sums:
    """Sum up the cells; of a facet only those with a value among `few`, where given."""
    if not planned.columns:
        return {}
    cells = cube_of(planned)
    value = tables.facets.c.value
    by = group_columns(question, value)
    keys: list[ColumnElement[Any]] = list(by)
    if question.interval is not Interval.TOTAL:
        keys.append(cells.c.start)
    statement = select(*keys, *(func.sum(cells.c[name]) for name in planned.columns))
    places = tables.days if planned.facet else None
    statement = narrowed(statement.select_from(cells), question, cells, value, places)
    if few is not None:
        statement = statement.where(value.in_(few))
    if planned.facet:
        statement = statement.where(tables.facets.c.facet == planned.facet)
    found: dict[tuple[Group, int], dict[str, int]] = {}
    width, names = len(by), planned.columns
    for row in connection.execute(statement.group_by(*keys)):
        numbers = row[len(keys) :]
        if numbers[0] is None:
            continue  # SQL gives one row of NULL where a sum has no cells and no keys
        index = 0 if len(keys) == width else bisect_right(planned.bounds, row[width]) - 1
        at = (tuple(map(str, row[:width])), index)
        known = found.get(at)
        if known is None:
            found[at] = {name: int(n) for name, n in zip(names, numbers, strict=True)}
        else:
            for name, n in zip(names, numbers, strict=True):
                known[name] += int(n)
        if len(found) > MOST_ROWS:
            raise UnanswerableError(
                f"more than {MOST_ROWS} rows; ask a shorter range or fewer groups"
            )
    return found


def _ranked(question: Question, sums: Sums, groups: set[Group]) -> list[Group]:
    """Put groups in order: by name, or by a measure over the whole range, and cut the list."""
    if not question.group_by:
        return [()]
    ordered = sorted(groups)
    if question.order_by:
        totals: dict[Group, dict[str, int]] = {}
        for (group, _), cell in sums.items():
            total = totals.setdefault(group, dict.fromkeys(cell, 0))
            for name, n in cell.items():
                total[name] += n
        weights = {g: derive(question.order_by, total) or 0 for g, total in totals.items()}
        ordered.sort(key=lambda group: -weights.get(group, 0))
    return ordered[: question.limit] if question.limit else ordered


def _rows(
    question: Question,
    planned: Plan,
    groups: Sequence[Group],
    found: dict[tuple[Group, int], dict[str, Value]],
) -> tuple[AnswerRow, ...]:
    """Lay out the rows: every interval for an ungrouped question, else those with something in."""
    zone = ZoneInfo(question.zone)
    texts = [as_text(start, zone) for start in planned.bounds]
    zero = dict.fromkeys(planned.columns, 0)
    nothing = {
        name: None
        if name in planned.percentiles
        else 0
        if name in planned.recipients
        else derive(name, zero)
        for name in question.measures
    }
    rows = []
    for group in groups:
        named = dict(zip(question.group_by, group, strict=True))
        for index, text in enumerate(texts):
            values = found.get((group, index))
            if values is not None or not question.group_by:
                rows.append(
                    AnswerRow(start=text, group=named, values={**nothing, **(values or {})})
                )
    return tuple(rows)


def _notes(question: Question, planned: Plan) -> tuple[str, ...]:
    notes = []
    if planned.recipients:
        notes.append(
            f"distinct recipients: exact in effect up to {EXACT_UPTO}, above with a standard error "
            f"of {RELATIVE_ERROR:.1%}"
        )
    if planned.percentiles:
        notes.append("percentiles come from buckets 19 % wide")
    if "tag" in question.group_by:
        notes.append("a message with several tags counts under each")
    return tuple(notes)

"""From a question to SQL: the cells in range, of the mailings asked for, grouped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, select, tuple_

from metrics.catalogue import MAILING_DIMENSIONS
from metrics.questions import Question
from relay.ledger import tables

Group = tuple[str, ...]
_MOST_NAMED = 500


def group_columns(question: Question, value: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    """Give the columns a question groups by; `value` is the one of its facet."""
    m = tables.mailings.c
    return [m[name] if name in MAILING_DIMENSIONS else value for name in question.group_by]


def narrowed(
    statement: Select[Any],
    question: Question,
    cells: Table,
    value: ColumnElement[Any],
    places: Table | None = None,
) -> Select[Any]:
    """Keep the question's range and filters of a statement on cells.

    Mailings are joined only where a question groups by what they hold; a join costs more than
    reading the cells. Filters on them become a list of their numbers. `places` is a cube of time
    with a cell for every start and mailing of `cells`: where these lie by start, mailing and value,
    only those that count are read, and values that are named are looked up one by one.
    """
    m, own = tables.mailings.c, cells.c
    wanted = _of_mailing(question)
    numbers = select(m.id).where(*wanted)
    if any(name in MAILING_DIMENSIONS for name in question.group_by):
        statement = statement.join(tables.mailings, m.id == own.mailing)
    for name, values in question.where.items():
        if name not in MAILING_DIMENSIONS:
            statement = statement.where(value.in_(values))
    if places is None:
        statement = statement.where(own.start >= question.since, own.start < question.until)
        return statement.where(own.mailing.in_(numbers)) if wanted else statement
    p = places.c
    known = select(p.start, p.mailing).where(p.start >= question.since, p.start < question.until)
    if wanted:
        known = known.where(p.mailing.in_(numbers))
    return statement.where(tuple_(own.start, own.mailing).in_(known))


def _of_mailing(question: Question) -> list[ColumnElement[bool]]:
    """Give the conditions that a question makes on mailings."""
    m = tables.mailings.c
    return [
        m.account.in_([int(v) for v in values]) if name == "account" else m[name].in_(values)
        for name, values in question.where.items()
        if name in MAILING_DIMENSIONS
    ]


def values_named(question: Question, groups: Sequence[Group] | None) -> list[str] | None:
    """Give the values of the question's facet that are wanted: filtered by, or of these groups.

    None where there is no facet, where any value is wanted, or too many are named.
    """
    named = [name for name in question.where if name not in MAILING_DIMENSIONS]
    if named:
        few = set(question.where[named[0]])
    else:
        at = [n for n, name in enumerate(question.group_by) if name not in MAILING_DIMENSIONS]
        if not at or groups is None:
            return None
        few = {group[at[0]] for group in groups}
    return sorted(few) if len(few) <= _MOST_NAMED else None

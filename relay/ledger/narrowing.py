"""From a question to SQL: the cells in range, of the mailings asked for, grouped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, Table, and_, select

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
    statement: Select[Any], question: Question, cells: Table, value: ColumnElement[Any]
) -> Select[Any]:
    """Keep the question's range and filters of a statement on cells.

    Mailings are joined only where a question groups by what they hold; a join costs more than
    reading the cells. Filters on them become a list of their numbers.
    """
    m = tables.mailings.c
    statement = statement.where(cells.c.start >= question.since, cells.c.start < question.until)
    if any(name in MAILING_DIMENSIONS for name in question.group_by):
        statement = statement.join(tables.mailings, m.id == cells.c.mailing)
    of_mailing: list[ColumnElement[bool]] = []
    for name, values in question.where.items():
        if name == "account":
            of_mailing.append(m.account.in_([int(v) for v in values]))
        elif name in MAILING_DIMENSIONS:
            of_mailing.append(m[name].in_(values))
        else:
            statement = statement.where(value.in_(values))
    if of_mailing:
        statement = statement.where(cells.c.mailing.in_(select(m.id).where(*of_mailing)))
    return statement


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


def each_place(question: Question, cells: Table) -> FromClause:
    """Join cells of a facet with the days and mailings that have any, so that few named values are
    looked up one by one: a day has too many cells for them to be read through.
    """
    d = tables.days.c
    places = select(d.start, d.mailing).where(d.start >= question.since, d.start < question.until)
    known = places.subquery("places")
    return known.join(
        cells, and_(cells.c.start == known.c.start, cells.c.mailing == known.c.mailing)
    )

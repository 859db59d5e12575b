"""From a question to SQL: the cells in range, of the mailings asked for, grouped."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, Table, select

from metrics.catalogue import MAILING_DIMENSIONS
from metrics.questions import Question
from relay.ledger import tables


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

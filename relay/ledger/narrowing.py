"""From a question to SQL: join cells with their mailings, keep the range and the filters, group."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, Table

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
    """Join a statement on cells with their mailings; keep the question's range and filters."""
    m = tables.mailings.c
    statement = statement.join(tables.mailings, m.id == cells.c.mailing).where(
        cells.c.start >= question.since, cells.c.start < question.until
    )
    for name, values in question.where.items():
        if name == "account":
            statement = statement.where(m.account.in_([int(v) for v in values]))
        else:
            column = m[name] if name in MAILING_DIMENSIONS else value
            statement = statement.where(column.in_(values))
    return statement

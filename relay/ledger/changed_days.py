"""How often anything of a mailing's day has changed: what answers kept in memory are held against.

Every transaction that changes a cell, a sketch or a delivery time of a mailing's day (UTC) counts
that up in `changes`, so whoever reads sees in its own snapshot whether what it kept still holds:
late corrections and other nodes' folds are never missed. Cells of quarters and hours, and sketches
by hour, are not kept: these may be dropped in silence.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection

from metrics.catalogue import MAILING_DIMENSIONS
from metrics.intervals import DAY
from metrics.questions import Question
from relay.ledger import tables
from relay.ledger.narrowing import Group
from relay.ledger.statements import add_up, fetch_all, run_many

_COUNT = add_up(tables.changes, ["start", "mailing"], ["times"])


class DayOf(NamedTuple):
    """A mailing's day in a question's range, how often it has changed, and what groups it."""

    start: int
    mailing: int
    times: int
    names: Group  # in the order of the question's groups, without a facet's value


def count_changes(connection: Connection, cells: Iterable[tuple[int, int]]) -> None:
    """Say that something of these mailings' days (any second of it, mailing) has changed."""
    days = {(start // DAY * DAY, mailing) for start, mailing in cells}
    run_many(connection, _COUNT, [(*day, 1) for day in sorted(days)])


def days_of(connection: Connection, question: Question, most: int) -> list[DayOf] | None:
    """Give the mailings' days in a question's range, in order; None for more than `most`."""
    groups = [name for name in question.group_by if name in MAILING_DIMENSIONS]
    values: list[object] = [question.since, question.until]
    conditions = ""
    for name, wanted in question.where.items():
        if name in MAILING_DIMENSIONS:
            conditions += f" AND m.{name} IN ({', '.join('?' * len(wanted))})"
            values += [int(one) for one in wanted] if name == "account" else wanted
    statement = (
        f"SELECT d.start, d.mailing, coalesce(c.times, 0){''.join(f', m.{g}' for g in groups)} "  # noqa: S608 - names only
        "FROM days d JOIN mailings m ON m.id = d.mailing "
        "LEFT JOIN changes c ON c.start = d.start AND c.mailing = d.mailing "
        f"WHERE d.start >= ? AND d.start < ?{conditions} ORDER BY d.start, d.mailing LIMIT ?"
    )
    rows = fetch_all(connection, statement, (*values, most + 1))
    if len(rows) > most:
        return None
    return [DayOf(row[0], row[1], int(row[2]), tuple(map(str, row[3:]))) for row in rows]

"""Posts a sheet of sums to the cubes, the recipients seen, and the first-fact counters.

Everything here adds to what is there; the order of postings does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import Connection, Table

from metrics.intervals import DAY, HOUR
from metrics.measures import NAMES
from metrics.sheet import Cell, Sheet, coarser
from relay.ledger import sealing, tables
from relay.ledger.changed_days import count_changes
from relay.ledger.statements import Row, add_up, insert, run_many

K = TypeVar("K", bound=tuple[Any, ...])
TIME_KEYS = ("start", "mailing")
FACET_KEYS = ("facet", "start", "mailing", "value")
_WORTH_A_STATEMENT = 16  # rows of one shape; fewer go together, with zeros
_DURATIONS = add_up(tables.durations, ["start", "mailing", "bucket"], ["count"])
_COUNTERS = add_up(tables.counters, ["name", "sending_domain", "label"], ["value"])
_SIGHTINGS = insert(
    tables.sightings, ["measure", "start", "mailing", "recipient_domain", "recipient_key"]
)
_STALE = insert(tables.stale, ["measure", "start", "mailing"]) + " ON CONFLICT DO NOTHING"


def post(connection: Connection, sheet: Sheet) -> None:
    """Add a sheet to every cube it touches."""
    quarters = sheet.time_cells()
    for table, cells in (
        (tables.quarters, quarters),
        (tables.hours, coarser(quarters, HOUR)),
        (tables.days, coarser(quarters, DAY)),
    ):
        add_cells(connection, table, TIME_KEYS, cells)
    facets = sealing.resolve(connection, sheet.facet_cells())
    add_cells(connection, tables.facets, FACET_KEYS, facets)
    count_changes(
        connection,
        [*quarters, *(key[1:3] for key in facets), *(key[:2] for key in sheet.durations)],
    )
    run_many(connection, _DURATIONS, [(*key, n) for key, n in sorted(sheet.durations.items()) if n])
    run_many(connection, _SIGHTINGS, [key for key, n in sheet.seen.items() if n > 0])
    gone = {key[:3] for key, n in sheet.seen.items() if n < 0}
    run_many(connection, _STALE, sorted(gone))
    run_many(connection, _COUNTERS, [(*key, n) for key, n in sorted(sheet.counters.items()) if n])


def carry(connection: Connection, sheet: Sheet, checkable_from: int) -> None:
    """Remember what deliveries without a row count in cells that the sum check still looks at."""
    cells = {
        ("", start, mailing, ""): cell
        for (start, mailing), cell in sheet.time_cells().items()
        if start >= checkable_from
    }
    cells |= {key: cell for key, cell in sheet.facet_cells().items() if key[1] >= checkable_from}
    add_cells(connection, tables.carried, FACET_KEYS, cells)


def add_cells(
    connection: Connection, table: Table, keys: tuple[str, ...], cells: Mapping[K, Cell]
) -> None:
    """Add cells to a cube, naming only the columns that are not zero.

    Most cells of a fold have the same few: naming all would triple the cost of a cell. Keys go in
    order, so that neighbours in the table are written together.
    """
    shapes: dict[tuple[int, ...], list[Row]] = {}
    for key in sorted(cells):
        cell = cells[key]
        shape = tuple(sorted([measure for measure, n in cell.items() if n]))
        if shape:
            shapes.setdefault(shape, []).append((*key, *[cell[measure] for measure in shape]))
    rare: list[tuple[tuple[int, ...], Row]] = []
    for shape, rows in shapes.items():
        if len(rows) < _WORTH_A_STATEMENT:
            rare += [(shape, row) for row in rows]
        else:
            run_many(connection, _adding(table, keys, shape), rows)
    columns = tuple(sorted({measure for shape, _ in rare for measure in shape}))
    run_many(
        connection,
        _adding(table, keys, columns),
        [_widened(row, len(keys), shape, columns) for shape, row in rare],
    )


def _widened(row: Row, ahead: int, shape: tuple[int, ...], columns: tuple[int, ...]) -> Row:
    """Give a row of few measures the columns of many."""
    have = dict(zip(shape, row[ahead:], strict=True))
    return (*row[:ahead], *[have.get(column, 0) for column in columns])


@lru_cache(256)
def _adding(table: Table, keys: tuple[str, ...], shape: tuple[int, ...]) -> str:
    return add_up(table, keys, [NAMES[column] for column in shape])

"""Posts a sheet of sums to the cubes, the recipients seen, and the first-fact counters.

Everything here adds to what is there; the order of postings does not matter.
"""

from __future__ import annotations

from sqlalchemy import Connection

from metrics.intervals import DAY, HOUR
from metrics.measures import NAMES
from metrics.sheet import Sheet, coarser
from relay.ledger import sealing, tables
from relay.ledger.statements import Row, add_up, insert, run_many

_QUARTERS = add_up(tables.quarters, ["start", "mailing"], NAMES)
_HOURS = add_up(tables.hours, ["start", "mailing"], NAMES)
_DAYS = add_up(tables.days, ["start", "mailing"], NAMES)
_FACETS = add_up(tables.facets, ["facet", "start", "mailing", "value"], NAMES)
_CARRIED = add_up(tables.carried, ["facet", "start", "mailing", "value"], NAMES)
_DURATIONS = add_up(tables.durations, ["start", "mailing", "bucket"], ["count"])
_COUNTERS = add_up(tables.counters, ["name", "sending_domain", "label"], ["value"])
_SIGHTINGS = insert(
    tables.sightings, ["measure", "start", "mailing", "recipient_domain", "recipient_key"]
)
_STALE = insert(tables.stale, ["measure", "start", "mailing"]) + " ON CONFLICT DO NOTHING"


def post(connection: Connection, sheet: Sheet) -> None:
    """Add a sheet to every cube it touches."""
    quarters = sheet.time_cells()
    for statement, cells in (
        (_QUARTERS, quarters),
        (_HOURS, coarser(quarters, HOUR)),
        (_DAYS, coarser(quarters, DAY)),
    ):
        run_many(connection, statement, _nonzero(cells))
    run_many(connection, _FACETS, _nonzero(sealing.resolve(connection, sheet.facet_cells())))
    run_many(connection, _DURATIONS, [(*key, n) for key, n in sorted(sheet.durations.items()) if n])
    run_many(connection, _SIGHTINGS, [key for key, n in sheet.seen.items() if n > 0])
    gone = {key[:3] for key, n in sheet.seen.items() if n < 0}
    run_many(connection, _STALE, sorted(gone))
    run_many(connection, _COUNTERS, [(*key, n) for key, n in sorted(sheet.counters.items()) if n])


def carry(connection: Connection, sheet: Sheet, checkable_from: int) -> None:
    """Remember what deliveries without a row count in cells that the sum check still looks at."""
    rows: list[Row] = [
        ("", start, mailing, "", *cell)
        for (start, mailing), cell in sorted(sheet.time_cells().items())
        if start >= checkable_from
    ]
    rows += [
        (*key, *cell)
        for key, cell in sorted(sheet.facet_cells().items())
        if key[1] >= checkable_from
    ]
    run_many(connection, _CARRIED, rows)


def _nonzero(
    cells: dict[tuple[int, int], list[int]] | dict[tuple[str, int, int, str], list[int]],
) -> list[Row]:
    return [(*key, *cell) for key, cell in sorted(cells.items()) if any(cell)]

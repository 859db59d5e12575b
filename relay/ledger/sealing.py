"""Keeps facets bounded: two days on, a day's values beyond an account's top 1,000 become "other".

Totals stay exact: cells are moved, never dropped. A fact that comes later still for a value that
was not kept goes to "other" too, so a correction is taken from where its first count was moved to.
Which values are kept: those with most messages handed in (or events, where a facet counts only
events), ties by name.
"""

from __future__ import annotations

from sqlalchemy import Connection, and_, delete, exists, select

from metrics.intervals import DAY
from metrics.measures import INDEX, NAMES, WIDTH
from metrics.sheet import OTHER, Cell, add_cell
from relay.ledger import tables
from relay.ledger.statements import add_up, run_many

FacetCells = dict[tuple[str, int, int, str], Cell]

KEPT = 1000
_WEIGHED_BY = ("requested", "opens", "clicks", "bounced_hard", "bounced_soft", "failed", "excluded")


def resolve(connection: Connection, cells: FacetCells) -> FacetCells:
    """Give the cells as they are kept: values that a sealed day has put into "other" go there."""
    sealed = _sealed(connection, {(facet, start) for facet, start, *_ in cells})
    if not sealed:
        return cells
    accounts = _accounts(connection, {key[2] for key in cells})
    found: FacetCells = {}
    for (facet, start, mailing, value), cell in cells.items():
        kept = (facet, start, accounts[mailing]) not in sealed or _is_kept(
            connection, facet, start, accounts[mailing], value
        )
        key = (facet, start, mailing, value if kept else OTHER)
        add_cell(found, key, cell)
    return found


def _sealed(connection: Connection, wanted: set[tuple[str, int]]) -> set[tuple[str, int, int]]:
    days = sorted({start for _, start in wanted})
    s = tables.sealed.c
    if not days:
        return set()
    rows = connection.execute(
        select(s.facet, s.start, s.account).where(s.start.between(days[0], days[-1]))
    )
    return {(facet, start, account) for facet, start, account in rows}


def _accounts(connection: Connection, wanted: set[int]) -> dict[int, int]:
    m = tables.mailings.c
    found = connection.execute(select(m.id, m.account).where(m.id.in_(sorted(wanted))))
    return {row.id: row.account for row in found}


def _is_kept(connection: Connection, facet: str, start: int, account: int, value: str) -> bool:
    f, m = tables.facets.c, tables.mailings.c
    of_account = select(m.id).where(m.account == account)
    return bool(
        connection.scalar(
            select(
                exists().where(
                    f.facet == facet, f.start == start, f.mailing.in_(of_account), f.value == value
                )
            )
        )
    )


def seal(connection: Connection, before: int) -> int:
    """Seal every day that starts before `before` (seconds); gives the number of values put away."""
    f, m, s = tables.facets.c, tables.mailings.c, tables.sealed.c
    open_days = connection.execute(
        select(f.facet, f.start, m.account)
        .join(tables.mailings, m.id == f.mailing)
        .where(
            f.start < before,
            f.start >= before - 7 * DAY,
            ~exists().where(and_(s.facet == f.facet, s.start == f.start, s.account == m.account)),
        )
        .distinct()
    ).fetchall()
    moved = 0
    for facet, start, account in open_days:
        moved += _seal_day(connection, facet, start, account)
        connection.execute(tables.sealed.insert().values(facet=facet, start=start, account=account))
    return moved


def _seal_day(connection: Connection, facet: str, start: int, account: int) -> int:
    f, m = tables.facets.c, tables.mailings.c
    rows = connection.execute(
        select(f.mailing, f.value, *(f[name] for name in NAMES)).where(
            f.facet == facet,
            f.start == start,
            f.mailing.in_(select(m.id).where(m.account == account)),
        )
    ).fetchall()
    weights: dict[str, int] = {}
    for row in rows:
        weights[row[1]] = weights.get(row[1], 0) + sum(row[2 + INDEX[name]] for name in _WEIGHED_BY)
    if len(weights) <= KEPT:
        return 0
    kept = set(sorted(weights, key=lambda value: (-weights[value], value))[:KEPT]) | {OTHER}
    put_away: dict[int, Cell] = {}
    for mailing, value, *cell in rows:
        if value not in kept:
            add_cell(put_away, mailing, dict(enumerate(cell)))
            connection.execute(
                delete(tables.facets).where(
                    f.facet == facet, f.start == start, f.mailing == mailing, f.value == value
                )
            )
    _add_other(connection, facet, start, put_away)
    return len(weights) - KEPT


def _add_other(connection: Connection, facet: str, start: int, cells: dict[int, Cell]) -> None:
    statement = add_up(tables.facets, ["facet", "start", "mailing", "value"], NAMES)
    run_many(
        connection,
        statement,
        [
            (facet, start, mailing, OTHER, *[cell[measure] for measure in range(WIDTH)])
            for mailing, cell in sorted(cells.items())
        ],
    )

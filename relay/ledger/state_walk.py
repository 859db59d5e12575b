"""Walks the ids of the deliveries in a state along its indexes, a bounded stretch at a time.

A page is full after few ids where most of the state is wanted, and costs what it has to look at
where few are: never a list of everything that is in the state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, select, text

from relay.ledger import tables

_d = tables.deliveries.c
_MOST_AT_ONCE = 4_000


def walk(
    connection: Connection,
    conditions: Sequence[str],
    low: int,
    high: int,
    *,
    newest_first: bool = False,
    at_first: int = 200,
) -> Iterator[list[int]]:
    """Give the ids from `low` to below `high` that meet one of the conditions of indexes
    (`tables.IN_STATE`), in order, in lists that grow."""
    one = tables.deliveries.alias("one")
    order = one.c.id.desc() if newest_first else one.c.id
    many = at_first
    while low < high:
        found: set[int] = set()
        reached: list[int] = []  # how far each index was read that has more
        for words in conditions:
            stretch = select(one.c.id).where(text(words), one.c.id >= low, one.c.id < high)
            ids = list(connection.scalars(stretch.order_by(order).limit(many)))
            found.update(ids)
            if len(ids) == many:
                reached.append(ids[-1])
        if not reached:
            if found:
                yield sorted(found, reverse=newest_first)
            return
        if newest_first:
            high = max(reached)
            yield sorted((one_id for one_id in found if one_id >= high), reverse=True)
        else:
            low = min(reached) + 1
            yield sorted(one_id for one_id in found if one_id < low)
        many = min(4 * many, _MOST_AT_ONCE)


def ends(connection: Connection, mailings: Sequence[int]) -> tuple[int, int]:
    """Give the first id of some mailings' deliveries and the one behind the last; mail of a mailing
    is made in one stretch of time."""
    found = [
        connection.scalar(select(_d.id).where(_d.mailing == one).order_by(order).limit(1)) or 0
        for one in mailings
        for order in (_d.id, _d.id.desc())
    ]
    return min(found, default=0), max(found, default=-1) + 1


def nth_newest(connection: Connection, words: str, low: int, high: int, nth: int) -> int:
    """Give the id that is the nth from the newest down along one index; 0 where there are fewer."""
    one = tables.deliveries.alias("one")
    stretch = select(one.c.id).where(text(words), one.c.id >= low, one.c.id < high)
    return connection.scalar(stretch.order_by(one.c.id.desc()).offset(nth - 1).limit(1)) or 0

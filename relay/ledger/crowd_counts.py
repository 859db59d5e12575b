"""Counts distinct recipients for an answer: sketches in range, and sightings not in them yet.

Cost grows with the sketches read, two dozen microseconds each, and with what waits (bounded by
`crowds.TIMES_AT` and `DOMAINS_AT`), never with mails.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Select, select

from metrics.distinct import Crowd
from metrics.questions import Plan, Question, UnanswerableError
from relay.ledger import tables
from relay.ledger.crowds import absorbed
from relay.ledger.narrowing import Group, group_columns, narrowed, values_named

MOST_CROWDS = 10_000
DOMAIN_GRAIN = "domain"


def count(
    connection: Connection,
    question: Question,
    planned: Plan,
    measure: int,
    only: Sequence[Group] | None = None,
) -> dict[tuple[Group, int], int]:
    """Count distinct recipients per group and interval; of `only` these groups where given.

    Raises UnanswerableError for more groups and intervals than can be counted at once.
    """
    crowds = _Crowds(planned, None if only is None else set(only))
    for start, sketch, *names in connection.execute(_sketched(question, planned, measure, only)):
        crowds.at(start, names).add_sketch(bytes(sketch))
    seen: dict[tuple[Any, ...], list[int]] = {}
    for key, *place in connection.execute(
        _waiting_ones(connection, question, planned, measure, only)
    ).fetchall():
        seen.setdefault(tuple(place), []).append(key)
    for (start, *names), keys in seen.items():
        crowds.at(start, names).add(keys)
    return {at: crowd.count() for at, crowd in crowds.found.items()}


class _Crowds:
    """The crowds of an answer by group and interval."""

    def __init__(self, planned: Plan, wanted: set[Group] | None) -> None:
        self._bounds = planned.bounds
        self._wanted = wanted
        self.found: dict[tuple[Group, int], Crowd] = {}

    def at(self, start: int, names: Iterable[object]) -> Crowd:
        """Give the crowd that a cell belongs to; of a group nobody asked for, one to throw away."""
        group = tuple(map(str, names))
        if self._wanted is not None and group not in self._wanted:
            return Crowd()
        if len(self.found) > MOST_CROWDS:
            raise UnanswerableError(
                f"recipients of more than {MOST_CROWDS} groups and intervals; ask for the first "
                "so many groups (order_by, limit) or a shorter range"
            )
        at = group, max(bisect_right(self._bounds, start) - 1, 0)
        crowd = self.found.get(at)
        if crowd is None:
            crowd = self.found[at] = Crowd()
        return crowd


def _sketched(
    question: Question, planned: Plan, measure: int, only: Sequence[Group] | None
) -> Select[Any]:
    """Select the sketches in range; where few recipient domains are named, theirs alone."""
    k = tables.sketches
    statement = select(k.c.start, k.c.sketch, *group_columns(question, k.c.value))
    few = values_named(question, only) if planned.recipient_grain == DOMAIN_GRAIN else None
    places = tables.hours if planned.recipient_grain == "hour" else tables.days
    statement = statement.select_from(k).where(
        k.c.measure == measure, k.c.grain == planned.recipient_grain
    )
    if few is not None:
        statement = statement.where(k.c.value.in_(few))
    return narrowed(statement, question, k, k.c.value, places)


def _waiting_ones(
    connection: Connection,
    question: Question,
    planned: Plan,
    measure: int,
    only: Sequence[Group] | None,
) -> Select[Any]:
    """Select the sightings in range that are not in sketches yet."""
    s = tables.sightings
    statement = select(s.c.recipient_key, s.c.start, *group_columns(question, s.c.recipient_domain))
    statement = statement.select_from(s).where(s.c.measure == measure)
    if planned.recipient_grain != DOMAIN_GRAIN:
        statement = statement.where(s.c.id > absorbed(connection))
    few = values_named(question, only)
    if few is not None:
        statement = statement.where(s.c.recipient_domain.in_(few))
    return narrowed(statement, question, s, s.c.recipient_domain)

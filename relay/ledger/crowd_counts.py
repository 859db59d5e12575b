"""Counts distinct recipients for an answer: sketches in range, and sightings not in them yet.

Cost grows with the sketches read, two dozen microseconds each, and with what waits (bounded by
`crowds.TIMES_AT` and `DOMAINS_AT`), never with mails. Of past days unions are kept in memory until
one of these days changes; the last day of a range is always read.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Select, select

from metrics.catalogue import MAILING_DIMENSIONS
from metrics.distinct import Crowd
from metrics.questions import Plan, Question, UnanswerableError
from relay.ledger import tables
from relay.ledger.changed_days import DayOf, days_of
from relay.ledger.crowds import absorbed
from relay.ledger.kept import Kept
from relay.ledger.narrowing import Group, group_columns, narrowed, values_named

MOST_CROWDS = 10_000
DOMAIN_GRAIN = "domain"
_MOST_DAYS = 5_000

At = tuple[Group, int]


def count(
    connection: Connection,
    question: Question,
    planned: Plan,
    only: Sequence[Group] | None = None,
    kept: Kept | None = None,
) -> dict[str, dict[At, int]]:
    """Count distinct recipients per group and interval, for every such measure of a plan; of
    `only` these groups where given.

    Raises UnanswerableError for more groups and intervals than can be counted at once.
    """
    if not planned.recipients:
        return {}
    asked = _Asked(question, planned, 0, only)
    past = None if kept is None else _past(connection, asked)
    return {
        name: _count(connection, asked._replace(measure=measure), kept, past)
        for name, measure in planned.recipients.items()
    }


def _count(
    connection: Connection, asked: _Asked, kept: Kept | None, past: _Past | None
) -> dict[At, int]:
    """Count for one measure."""
    only = asked.only
    crowds = _Crowds(asked.planned, None if only is None else set(only))
    if kept is None or past is None:
        crowds.read(connection, asked)
    else:
        before = asked.over(asked.question.since, past.last)
        _unite_past(connection, before, past, kept, crowds)
        crowds.read(connection, asked.over(past.last, asked.question.until))
    seen: dict[tuple[Any, ...], list[int]] = {}
    for key, *place in connection.execute(_waiting_ones(connection, asked)).fetchall():
        seen.setdefault(tuple(place), []).append(key)
    for (start, *names), keys in seen.items():
        crowds.at(start, names).add(keys)
    return {at: crowd.count() for at, crowd in crowds.found.items()}


class _Asked(NamedTuple):
    """What is asked about distinct recipients."""

    question: Question
    planned: Plan
    measure: int
    only: Sequence[Group] | None

    def over(self, since: int, until: int) -> _Asked:
        """Give the same over another range; intervals stay as they are."""
        return self._replace(
            question=msgspec.structs.replace(self.question, since=since, until=until)
        )


class _Crowds:
    """The crowds of an answer by group and interval."""

    def __init__(self, planned: Plan, wanted: set[Group] | None) -> None:
        self._bounds = planned.bounds
        self._wanted = wanted
        self.found: dict[tuple[Group, int], Crowd] = {}

    def read(self, connection: Connection, asked: _Asked) -> None:
        """Unite the sketches in range."""
        for start, sketch, *names in connection.execute(_sketched(asked)):
            self.at(start, names).add_sketch(bytes(sketch))

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
        return self.of(group, max(bisect_right(self._bounds, start) - 1, 0))

    def of(self, group: Group, index: int) -> Crowd:
        """Give the crowd of a group and interval."""
        crowd = self.found.get((group, index))
        if crowd is None:
            crowd = self.found[group, index] = Crowd()
        return crowd


class _Part(NamedTuple):
    """A group and interval of past days, and what its crowds are kept under (SHA-256)."""

    at: At
    which: bytes  # days of which mailings, and which of their sketches
    state: bytes  # how often each of these days has changed


class _Past(NamedTuple):
    """The days of a question before its last one; that one changes all the time."""

    last: int
    parts: list[_Part]


def _past(connection: Connection, asked: _Asked) -> _Past | None:
    """Give the past days in range; None where nothing can be kept: by the hour, for more days or
    groups than fit, or where recipient domains are not known before reading.

    Names hold digests: thousands of days would take more memory than the crowds themselves.
    """
    if asked.planned.recipient_grain == "hour" or _values(asked) is None:
        return None
    days = days_of(connection, asked.question, _MOST_DAYS)
    if not days:
        return None
    last = days[-1].start
    gathered: dict[At, list[DayOf]] = {}
    for day in days:
        if day.start < last:
            index = max(bisect_right(asked.planned.bounds, day.start) - 1, 0)
            gathered.setdefault((day.names, index), []).append(day)
    parts: list[_Part] = []
    for (names, index), some in gathered.items():
        which = _digest([number for day in some for number in day[:2]])
        state = _digest([day.times for day in some])
        for group, values in _groups(asked, names):
            if len(parts) >= MOST_CROWDS:
                return None
            chosen = repr((asked.planned.recipient_grain, values)).encode()
            parts.append(_Part((group, index), sha256(which + chosen).digest(), state))
    return _Past(last, parts)


def _digest(numbers: list[int]) -> bytes:
    return sha256(array("q", numbers).tobytes()).digest()


def _unite_past(
    connection: Connection, asked: _Asked, past: _Past, kept: Kept, crowds: _Crowds
) -> None:
    """Unite the sketches of past days: those that are kept united, the others read."""
    missing: list[_Part] = []
    for part in past.parts:
        packed = kept.get(("crowd", asked.measure, part.which), part.state)
        if packed is None:
            missing.append(part)
        elif packed:
            crowds.of(*part.at).add_sketch(packed)
    if not missing:
        return
    read = _Crowds(asked.planned, {part.at[0] for part in missing})
    read.read(connection, asked)
    for part in missing:
        crowd = read.found.get(part.at)
        packed = b"" if crowd is None else crowd.packed()
        name = ("crowd", asked.measure, part.which)
        kept.put(name, part.state, packed, sys.getsizeof(packed))
        if packed:
            crowds.of(*part.at).add_sketch(packed)


def _groups(asked: _Asked, names: Group) -> Iterator[tuple[Group, tuple[str, ...]]]:
    """Give the groups that a mailing's days go into, each with the recipient domains it holds."""
    values = _values(asked) or []
    at = [n for n, name in enumerate(asked.question.group_by) if name not in MAILING_DIMENSIONS]
    if not at:
        yield names, tuple(values)
        return
    wanted = None if asked.only is None else set(asked.only)
    for value in values:
        group = (*names[: at[0]], value, *names[at[0] :])
        if wanted is None or group in wanted:
            yield group, (value,)


def _values(asked: _Asked) -> list[str] | None:
    """Give the recipient domains that are asked for, [""] where none matters, None for any."""
    if asked.planned.recipient_grain != DOMAIN_GRAIN:
        return [""]
    return values_named(asked.question, asked.only)


def _sketched(asked: _Asked) -> Select[Any]:
    """Select the sketches in range; where few recipient domains are named, theirs alone."""
    k, grain = tables.sketches, asked.planned.recipient_grain
    statement = select(k.c.start, k.c.sketch, *group_columns(asked.question, k.c.value))
    places = tables.hours if grain == "hour" else tables.days
    statement = statement.select_from(k).where(k.c.measure == asked.measure, k.c.grain == grain)
    few = values_named(asked.question, asked.only) if grain == DOMAIN_GRAIN else None
    if few is not None:
        statement = statement.where(k.c.value.in_(few))
    return narrowed(statement, asked.question, k, k.c.value, places)


def _waiting_ones(connection: Connection, asked: _Asked) -> Select[Any]:
    """Select the sightings in range that are not in sketches yet."""
    s, question = tables.sightings, asked.question
    statement = select(s.c.recipient_key, s.c.start, *group_columns(question, s.c.recipient_domain))
    statement = statement.select_from(s).where(s.c.measure == asked.measure)
    if asked.planned.recipient_grain != DOMAIN_GRAIN:
        statement = statement.where(s.c.id > absorbed(connection))
    few = values_named(question, asked.only)
    if few is not None:
        statement = statement.where(s.c.recipient_domain.in_(few))
    return narrowed(statement, question, s, s.c.recipient_domain)

"""Delivery rows and stored events, as the fold reads and writes them in bulk."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection

from metrics.events import Event
from metrics.fate import NUMBER, Fate
from metrics.hits import Nature, Verdict
from relay.ledger.intake import Fact, read_stored
from relay.ledger.statements import Row, insert, run_many, select_in, update
from relay.ledger.tables import deliveries, events

_FATE = Fate.__struct_fields__
_MERGED = tuple(name for name in _FATE if name not in {"id", "mailing", "recipient_key"})
_DESCRIBED = (
    "message", "recipient", "sender", "message_id", "subject", "size", "tracked", "skipped", "node",
)  # fmt: skip
_INSERT = insert(deliveries, [*_FATE, *_DESCRIBED])
_MERGE = update(deliveries, _MERGED)
# Columns with an index are left out of _MERGE: naming them would cost a look at each index.
_DESCRIBE = update(deliveries, ["mailing", "recipient_key", *_DESCRIBED])
_EVENT = insert(events, ["delivery", "at", "kind", "nature", "platform", "body"])
_JUDGE = update(events, ["nature", "platform"])
_FATES_OF = f"SELECT {', '.join(_FATE)} FROM deliveries WHERE id IN"  # noqa: S608 - names only
_EVENTS_OF = "SELECT delivery, id, nature, platform, body FROM events WHERE delivery IN"
_description_of: Callable[[Event], Row] = attrgetter(*_DESCRIBED)
_NO_DESCRIPTION: Row = (0, "", "", "", "", 0, "", "", "")


class Stored(NamedTuple):
    """An event that is in the ledger already, with its verdict when it is a hit."""

    id: int
    event: Event
    verdict: Verdict | None


class RowChanges:
    """What one fold writes to the two tables, gathered so that each statement runs once."""

    def __init__(self) -> None:
        """Start with nothing to write."""
        self._new: list[Row] = []
        self._merged: list[Row] = []
        self._described: list[Row] = []
        self._events: list[Row] = []
        self._judged: list[Row] = []

    def event(self, fact: Fact, verdict: Verdict | None) -> None:
        """Keep a new event."""
        event = fact.event
        nature, platform = (verdict.nature, verdict.platform) if verdict else (None, None)
        self._events.append(
            (event.delivery, event.at, NUMBER[event.kind], nature, platform, fact.body)
        )

    def judged(self, stored: Stored, verdict: Verdict) -> None:
        """Give a stored hit a new verdict."""
        self._judged.append((int(verdict.nature), verdict.platform, stored.id))

    def fate(self, fate: Fate, *, new: bool, opener: Event | None) -> None:
        """Write a delivery's row; `opener` is the event that opened it in this fold."""
        merged = msgspec.structs.astuple(fate)
        described = _description_of(opener) if opener else _NO_DESCRIPTION
        if new:
            self._new.append((*merged, *described))
            return
        self._merged.append((*merged[3:], merged[0]))
        if opener:
            self._described.append((merged[1], merged[2], *described, merged[0]))

    def write(self, connection: Connection) -> None:
        """Run what was gathered."""
        run_many(connection, _EVENT, self._events)
        run_many(connection, _INSERT, self._new)
        run_many(connection, _MERGE, self._merged)
        run_many(connection, _DESCRIBE, self._described)
        run_many(connection, _JUDGE, self._judged)


def load_fates(connection: Connection, ids: Iterable[int]) -> dict[int, Fate]:
    """Give the rows of those deliveries that have one."""
    return {row[0]: Fate(*row) for row in select_in(connection, _FATES_OF, ids)}


def load_events(connection: Connection, ids: Iterable[int]) -> dict[int, list[Stored]]:
    """Give the stored events of some deliveries, by delivery."""
    found: dict[int, list[Stored]] = {}
    for delivery, number, nature, platform, body in select_in(connection, _EVENTS_OF, ids):
        verdict = Verdict(Nature(nature), platform or "") if nature else None
        found.setdefault(delivery, []).append(Stored(number, read_stored(bytes(body)), verdict))
    return found

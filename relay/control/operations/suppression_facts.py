"""What facts suppress: hard bounces, complaints, unsubscriptions, as the workers saw them.

A worker puts such a fact into force itself (`relay.recorder`); here it becomes the lasting entry
that names its event. Guarantees: taking the same facts again changes nothing, so they may be taken
before the fold acknowledges them, and a crash in between loses none. A fact that knows its delivery
only is kept until the delivery's acceptance arrives, from whichever worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, and_, delete, insert, select

from metrics.events import Event, Kind
from relay.clock import DAY
from relay.control.caller import Caller, Scope
from relay.control.changes import Change, Changes
from relay.control.operations.soft_bounces import SoftBounces, is_soft_bounce
from relay.control.operations.suppression_rows import Suppress, SuppressionKeys, put
from relay.control.operations.words import regular_address
from relay.errors import InvalidError, StorageError
from relay.ledger.settings_tables import unlinked
from relay.ledger.tables import deliveries, mailings
from relay.spool.protocol import Batch

_REASONS = {
    Kind.BOUNCED: "hard-bounce",
    Kind.COMPLAINED: "complaint",
    Kind.UNSUBSCRIBED: "unsubscribe",
}
_KEPT = 7 * DAY  # how long a fact waits for its delivery
_TOGETHER = 500
_CALLER = Caller(name="event", scopes=frozenset({Scope.ADMIN}))
_decode = msgspec.msgpack.Decoder(Event).decode


class _Head(msgspec.Struct, array_like=True, frozen=True):
    """The first field of an event: most facts need no more to be seen as suppressing nobody."""

    kind: str


_decode_head = msgspec.msgpack.Decoder(_Head).decode


class _Known(NamedTuple):
    """What the ledger knows of a delivery."""

    account: int
    recipient: str
    sending_domain: str
    campaign: str


class SuppressionFacts:
    """Turns facts into entries."""

    def __init__(
        self, changes: Changes, keys: SuppressionKeys, soft: SoftBounces | None = None
    ) -> None:
        """Take the door to the ledger, what turns addresses into keys, and who counts soft
        bounces.
        """
        self._changes = changes
        self._keys = keys
        self._soft = soft if soft is not None and soft.counts else None
        self._bounced: dict[int, Event] = {}  # softly, and not counted yet, by delivery
        self._waiting = True  # whether facts may be waiting for their deliveries

    async def take(self, batches: Sequence[Batch]) -> int:
        """Take what suppresses out of batches of facts; give the number of new entries."""
        picked = list(_picked(batches))
        if self._soft is not None:
            self._bounced |= {event.delivery: event for event in picked if is_soft_bounce(event)}
        return await self.take_events([event for event in picked if event.scope])

    async def settle(self) -> int:
        """Take facts that waited for a delivery which may have arrived, and count soft bounces that
        were folded; cheap when there is neither.

        Raises StorageError; then the next call does what this one could not.
        """
        made = await self.take_events(())
        if self._soft is None or not self._bounced:
            return made
        soft, bounced, self._bounced = self._soft, self._bounced, {}
        try:
            return made + await self._changes.make(
                _CALLER, lambda change: soft.take(change, bounced.values()), settings=False
            )
        except StorageError:
            self._bounced = bounced | self._bounced
            raise

    async def take_events(self, events: Sequence[Event]) -> int:
        """Take these facts and those that waited."""
        if not events and not self._waiting:
            return 0

        def work(change: Change) -> tuple[int, bool]:
            made = 0
            for event in events:
                known = _stated(event)
                if known is not None:
                    made += self._put(change, known, event)
                elif event.delivery:
                    change.connection.execute(delete(unlinked).where(_same(event)))
                    change.connection.execute(insert(unlinked).values(_kept(event)))
            return made + self._take_waiting(change), self._any_left(change)

        made, self._waiting = await self._changes.make(_CALLER, work, settings=False)
        return made

    def _take_waiting(self, change: Change) -> int:
        too_old = unlinked.c.at < change.at - _KEPT
        change.connection.execute(delete(unlinked).where(too_old))
        rows = change.connection.execute(
            select(unlinked).order_by(unlinked.c.at).limit(_TOGETHER)
        ).all()
        known = _deliveries(change.connection, [row.delivery for row in rows])
        made = 0
        for row in rows:
            if row.delivery in known:
                made += self._put(change, known[row.delivery], _event(row))
        return made

    def _put(self, change: Change, known: _Known, event: Event) -> int:
        change.connection.execute(delete(unlinked).where(_same(event)))
        wanted = _wanted(known, event)
        return 0 if wanted is None or put(change, self._keys, wanted) is None else 1

    @staticmethod
    def _any_left(change: Change) -> bool:
        return change.connection.execute(select(unlinked.c.delivery).limit(1)).first() is not None


def suppressing(batches: Iterable[Batch]) -> list[Event]:
    """Pick the facts that suppress somebody; what cannot be read is the fold's to report."""
    return [event for event in _picked(batches) if event.scope]


def _picked(batches: Iterable[Batch]) -> Iterator[Event]:
    """Give the facts that suppress somebody, and soft bounces."""
    for batch in batches:
        for raw in batch.events:
            try:
                if _decode_head(raw).kind not in _REASONS:
                    continue
                event = _decode(raw)
            except msgspec.DecodeError:
                continue
            if event.scope or is_soft_bounce(event):
                yield event


def _stated(event: Event) -> _Known | None:
    """Give what the fact says itself, if that is enough."""
    named = {"account": True, "domain": event.sending_domain, "campaign": event.campaign}
    if not event.recipient or not event.account or not named.get(event.scope):
        return None
    return _Known(event.account, event.recipient, event.sending_domain, event.campaign)


def _wanted(known: _Known, event: Event) -> Suppress | None:
    within = {"account": "", "domain": known.sending_domain, "campaign": known.campaign}
    scope = event.scope
    if scope == "campaign" and not known.campaign:
        scope = "domain"  # as the workers did
    if scope != "account" and not within[scope]:
        scope = "account"
    try:
        recipient = regular_address(known.recipient)
    except InvalidError:
        return None
    return Suppress(
        account=known.account,
        scope=scope,
        within=within[scope],
        recipient=recipient,
        reason=_REASONS[event.kind],
        event_at=event.at,
        event_kind=event.kind.value,
        event_delivery=event.delivery,
    )


def _deliveries(connection: Connection, ids: list[int]) -> dict[int, _Known]:
    wanted = (
        select(
            deliveries.c.id,
            mailings.c.account,
            deliveries.c.recipient,
            mailings.c.sending_domain,
            mailings.c.campaign,
        )
        .join(mailings, mailings.c.id == deliveries.c.mailing)
        .where(deliveries.c.id.in_(ids), deliveries.c.recipient != "")
    )
    return {row[0]: _Known(*row[1:]) for row in connection.execute(wanted)}


def _same(event: Event) -> ColumnElement[bool]:
    return and_(unlinked.c.delivery == event.delivery, unlinked.c.reason == _REASONS[event.kind])


def _kept(event: Event) -> dict[str, object]:
    return {
        "delivery": event.delivery,
        "reason": _REASONS[event.kind],
        "scope": event.scope,
        "kind": event.kind.value,
        "at": event.at,
    }


def _event(row: Row[tuple[object, ...]]) -> Event:
    return Event(kind=Kind(row.kind), at=row.at, delivery=row.delivery, scope=row.scope)

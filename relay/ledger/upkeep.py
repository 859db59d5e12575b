"""Upkeep: absorbs sightings, mends stale crowds, seals days, prunes what is past its retention.

Each step is one short transaction (or several bounded ones), so folding goes on in between. Rollups
stay: pruning takes rows and events, and remembers in `carried` what they counted in cells that the
sum check still looks at, so that the sum rule holds across it.
"""

from __future__ import annotations

import time
from functools import partial
from typing import NamedTuple

from sqlalchemy import Connection, delete, select

from metrics.contribution import count_event, count_fate
from metrics.hits import Classifier, Unjudged
from metrics.intervals import DAY, MICROSECONDS
from metrics.sheet import Sheet
from relay.clock import Clock, now
from relay.ids import lowest_at
from relay.ledger import crowds, sealing, tables
from relay.ledger.delivery_fold import DeliveryFold
from relay.ledger.engine import Ledger
from relay.ledger.horizon import Horizon, load_horizon, store_horizon
from relay.ledger.intake import Fact
from relay.ledger.mailings import Mailings
from relay.ledger.posting import carry, post
from relay.ledger.recipient_keys import load_recipient_keys
from relay.ledger.rows import RowChanges, load_events, load_fates

_PRUNED_AT_ONCE = 2000
_SEALED_AFTER_DAYS = 2
_RESTS = 19  # times as long as it took


class Retention(NamedTuple):
    """For how many days each kind of data is kept; 0 is for ever."""

    events: int = 90  # events, delivery rows, addresses: the message log
    quarters: int = 400  # cells of 15 minutes and recipients by hour; hours and days stay
    shunted: int = 30


class Upkeep:
    """All of it: `tidy` is for every second, `prune` for every hour."""

    def __init__(
        self,
        ledger: Ledger,
        retention: Retention,
        classifier: Classifier | None = None,
        clock: Clock = now,
    ) -> None:
        """Take an open ledger, how long to keep what, who judges hits, and the time."""
        self._ledger = ledger
        self._classifier = classifier or Unjudged()
        self._retention = retention
        self._clock = clock
        self._mends_from = 0.0

    async def tidy(self) -> None:
        """Mend stale crowds; absorb sightings when many wait. Cheap when there is nothing to do.

        Mending a large campaign's crowds reads its whole day: it may take a twentieth of the time,
        so that folding goes on.
        """
        began = time.monotonic()
        if began >= self._mends_from and await self._ledger.read(crowds.any_stale):
            await self._ledger.write(crowds.rebuild)
            ended = time.monotonic()
            self._mends_from = ended + _RESTS * (ended - began)
        if (await self._ledger.read(crowds.waiting)).many:
            await self._ledger.write(crowds.absorb_some)

    async def prune(self) -> int:
        """Seal days, drop what is past its retention; gives the number of deliveries dropped."""
        today = self._clock() // MICROSECONDS // DAY * DAY
        await self._ledger.write(crowds.absorb)
        await self._ledger.write(partial(sealing.seal, before=today - _SEALED_AFTER_DAYS * DAY))
        if self._retention.quarters:
            await self._ledger.write(
                partial(_drop_quarters, before=today - self._retention.quarters * DAY)
            )
        if self._retention.shunted:
            await self._ledger.write(
                partial(_drop_shunted, before=today - self._retention.shunted * DAY)
            )
        if not self._retention.events:
            return 0
        dropped = 0
        before = today - self._retention.events * DAY
        step = partial(_prune_some, before=before, classifier=self._classifier)
        while some := await self._ledger.write(step):
            dropped += some
        return dropped


def _drop_quarters(connection: Connection, before: int) -> None:
    connection.execute(delete(tables.quarters).where(tables.quarters.c.start < before))
    k = tables.sketches.c
    connection.execute(delete(tables.sketches).where(k.grain == "hour", k.start < before))


def _drop_shunted(connection: Connection, before: int) -> None:
    connection.execute(delete(tables.shunted).where(tables.shunted.c.at < before * MICROSECONDS))


def _prune_some(connection: Connection, before: int, classifier: Classifier) -> int:
    """Drop up to some thousand deliveries made before a moment (seconds) that have ended.

    What is still waiting stays, whatever its age; what was parked and never opened counts from its
    tokens alone. The horizon moves first: from now on a hit on one of
    these deliveries counts from its token alone.
    """
    upto = lowest_at(before * MICROSECONDS) - 1
    known = load_horizon(connection)
    horizon = Horizon(max(known.pruned_upto, upto), max(known.checkable_from, before))
    d, e = tables.deliveries.c, tables.events.c
    ids = list(
        connection.scalars(
            select(d.id)
            .where(d.id <= upto, (d.final > 0) | (d.mailing == 0))
            .order_by(d.id)
            .limit(_PRUNED_AT_ONCE)
        )
    )
    if horizon != known:
        store_horizon(connection, horizon)
        c = tables.carried.c
        connection.execute(delete(tables.carried).where(c.start < horizon.checkable_from))
    if not ids:
        return _prune_unowned(connection, before)
    sheet, late = Sheet(), Sheet()
    mailings, keys = Mailings(), load_recipient_keys(connection)
    work = DeliveryFold(connection, late, RowChanges(), mailings, classifier, keys)
    earlier = load_events(connection, ids)
    for number, fate in load_fates(connection, ids).items():
        if not fate.mailing:
            work.fold_outlived(late, [Fact(s.event, b"") for s in earlier.get(number, ())])
            continue
        count_fate(sheet, fate, +1)
        for stored in earlier.get(number, ()):
            count_event(sheet, fate, stored.event, stored.verdict, +1)
    work.finish()
    post(connection, late)
    carry(connection, late, horizon.checkable_from)
    carry(connection, sheet, horizon.checkable_from)
    connection.execute(delete(tables.events).where(e.delivery.in_(ids)))
    connection.execute(delete(tables.deliveries).where(d.id.in_(ids)))
    return len(ids)


def _prune_unowned(connection: Connection, before: int) -> int:
    """Drop events without a delivery; those of refusals counted in cells before the horizon
    only."""
    e = tables.events.c
    dropped = connection.execute(
        delete(tables.events).where(e.delivery == 0, e.at < before * MICROSECONDS)
    )
    return dropped.rowcount

"""The fold: batches of facts become events, delivery rows and cubes, exactly once in effect.

One transaction per call holds the spool's high-water mark, the events, the rows, the cubes and the
first-fact counters: all of it is there or none. A batch at or below the mark changes nothing, so a
worker may send again whatever was not acknowledged. Batches of one spool come in their order;
between spools there is none: rows merge commutatively (`metrics.fate`), cubes hold sums of pure
functions of them (`metrics.contribution`), and a fact that arrives before its delivery's acceptance
is parked in the row and counted when that arrives. A hit whose delivery was pruned counts from its
token's ids alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from metrics.events import Kind
from metrics.fate import HITS, OPENING, Fate
from metrics.hits import Classifier, Unjudged
from metrics.sheet import Sheet
from relay.clock import Clock, now
from relay.ledger import tables
from relay.ledger.by_message_id import link_unowned
from relay.ledger.delivery_fold import HITS_TOGETHER, DeliveryFold, Known, describes
from relay.ledger.engine import Ledger
from relay.ledger.horizon import load_horizon
from relay.ledger.intake import Fact, Shunted, read_batches
from relay.ledger.mailings import Mailings
from relay.ledger.posting import carry, post
from relay.ledger.recipient_keys import RecipientKeys, load_recipient_keys
from relay.ledger.rows import RowChanges, load_events, load_fates
from relay.ledger.statements import fetch_all, insert, prepared, run_many
from relay.spool.protocol import Batch

_log = logging.getLogger(__name__)

_SHUNT = insert(tables.shunted, ["at", "spool", "seq", "error", "body"])
_MARK = (
    "INSERT INTO marks (spool, seq) VALUES (?, ?) "
    "ON CONFLICT (spool) DO UPDATE SET seq = excluded.seq"
)


class Folded(NamedTuple):
    """What one fold changed, for whoever shows numbers live."""

    spool: str
    mark: int
    events: int
    shunted: int
    mailings: frozenset[int]
    took_ms: tuple[int, ...]  # delivery times of the deliveries that ended


class Folder:
    """Folds batches into one ledger; control has exactly one."""

    def __init__(
        self, ledger: Ledger, classifier: Classifier | None = None, clock: Clock = now
    ) -> None:
        """Take an open ledger and whoever judges hits (without one every hit is unknown)."""
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._ledger = ledger
        self._classifier = classifier or Unjudged()
        self._mailings = Mailings()
        self._keys: RecipientKeys | None = None
        self.listeners: list[Callable[[Folded], None]] = []

    async def fold(self, spool_incarnation: str, batches: Sequence[Batch]) -> int:
        """Fold the batches above the spool's mark; gives the new mark once it is on disk.

        Raises StorageError when the database failed; then nothing was folded. A listener that
        fails is logged: the fold is committed, and the other listeners hear of it.
        """
        async with self._one_at_a_time:  # what is cached belongs to the transaction that made it
            folded = await self._ledger.write(
                lambda connection: self._fold(connection, spool_incarnation, batches)
            )
            self._mailings.committed()
        if folded.events:
            self._tell(folded)
        return folded.mark

    def _tell(self, folded: Folded) -> None:
        for listener in self.listeners:
            try:
                listener(folded)
            except Exception:  # noqa: BLE001 - not the fold's fault: who asked must hear of the commit
                _log.exception("a listener failed at a fold of %s", folded.spool)

    async def mark(self, spool_incarnation: str) -> int:
        """Give the highest sequence number folded for a spool; 0 for a spool never seen."""
        return await self._ledger.read(lambda connection: _mark(connection, spool_incarnation))

    def _fold(self, connection: Connection, spool: str, batches: Sequence[Batch]) -> Folded:
        self._mailings.begin()
        mark = _mark(connection, spool)
        fresh = {batch.seq: batch for batch in batches if batch.seq > mark}
        if not fresh:
            return Folded(spool, mark, 0, 0, frozenset(), ())
        facts, shunted = read_batches(fresh[seq] for seq in sorted(fresh))
        facts = link_unowned(connection, facts)
        touched = self._fold_facts(connection, facts)
        mark = max(fresh)
        self._shunt(connection, spool, shunted)
        connection.exec_driver_sql(prepared(connection, _MARK), (spool, mark))
        took = tuple(f.event.took_ms for f in facts if f.event.kind is Kind.DELIVERED)
        return Folded(spool, mark, len(facts), len(shunted), touched, took)

    def _fold_facts(self, connection: Connection, facts: Sequence[Fact]) -> frozenset[int]:
        if self._keys is None:
            self._keys = load_recipient_keys(connection)
        by_delivery: dict[int, list[Fact]] = {}
        for fact in facts:
            by_delivery.setdefault(fact.event.delivery, []).append(fact)
        unowned = by_delivery.pop(0, [])
        horizon = load_horizon(connection)
        fates = load_fates(connection, by_delivery)
        earlier = load_events(connection, _to_think_over(fates, by_delivery))
        known = self._mailings.by_ids(
            connection, {fate.mailing for fate in fates.values() if fate.mailing}
        )
        sheet, late, changes = Sheet(), Sheet(), RowChanges()
        work = DeliveryFold(
            connection, sheet, changes, self._mailings, self._classifier, self._keys
        )
        for number, about in by_delivery.items():
            fate = fates.get(number)
            pruned = fate is None and number <= horizon.pruned_upto
            if pruned and not any(describes(fact.event) for fact in about):
                work.fold_outlived(late, about)
                continue
            mailing = known.get(fate.mailing) if fate else None
            work.fold(Known(number, fate, mailing, earlier.get(number, []), pruned), about)
        for fact in unowned:
            if fact.event.kind in HITS:
                work.fold_sum_only(late, fact)
            else:
                work.fold_unowned(fact)
        work.finish()
        changes.write(connection)
        post(connection, sheet)
        if late.places:
            post(connection, late)
            carry(connection, late, horizon.checkable_from)
        return frozenset(mailing for mailing, *_ in sheet.places)

    def _shunt(self, connection: Connection, spool: str, shunted: Sequence[Shunted]) -> None:
        at = self._clock()
        rows = [(at, spool, s.seq, s.error, s.body) for s in shunted]
        run_many(connection, _SHUNT, rows)


def _mark(connection: Connection, spool: str) -> int:
    rows = fetch_all(connection, "SELECT seq FROM marks WHERE spool = ?", (spool,))
    return int(rows[0][0]) if rows else 0


def _to_think_over(fates: dict[int, Fate], facts: dict[int, list[Fact]]) -> list[int]:
    """Pick the deliveries whose earlier events matter: those with hits, and parked ones now opened.

    Where a machine hit more often than `HITS_TOGETHER`, the past is left alone.
    """
    return [
        number
        for number, fate in fates.items()
        if (fate.mailing and 0 < fate.opens + fate.clicks <= HITS_TOGETHER)
        or (not fate.mailing and any(fact.event.kind in OPENING for fact in facts[number]))
    ]

"""Folds the facts of one delivery: merges its row, judges its hits, counts the difference.

Works on what the fold loaded and gathers what is to be written; the only statements run here are
those of mailings that are new.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import NamedTuple

from sqlalchemy import Connection

from metrics.contribution import (
    COUNTED_IN_FATE,
    count_change,
    count_event,
    count_fate,
    result_of,
)
from metrics.durations import bucket_of
from metrics.events import Event, Kind
from metrics.fate import HITS, NUMBER, OPENING, Fate, merge
from metrics.hits import Circumstances, Classifier, Nature, Verdict
from metrics.sheet import Sheet
from relay.ledger.intake import Fact
from relay.ledger.mailings import Mailing, Mailings
from relay.ledger.recipient_keys import RecipientKeys
from relay.ledger.rows import RowChanges, Stored

_DELIVERED = NUMBER[Kind.DELIVERED]
_PARKED = Verdict(Nature.UNKNOWN)
REQUESTED_AS = {Kind.OPENED: "open", Kind.CLICKED: "click"}
"""What the tracking host was asked for, by the kind of the hit."""
HITS_TOGETHER = 500
"""A delivery with more hits than this is a machine's: later hits are judged without the earlier
ones."""


class Known(NamedTuple):
    """What the ledger has of a delivery before its new facts; `earlier` only where it matters."""

    id: int
    fate: Fate | None
    mailing: Mailing | None
    earlier: Sequence[Stored]
    pruned: bool = False  # it had a row once: any event that names its dimensions opens it again


class DeliveryFold:
    """Folds deliveries one after the other into one sheet and one set of row changes."""

    def __init__(
        self,
        connection: Connection,
        sheet: Sheet,
        changes: RowChanges,
        mailings: Mailings,
        classifier: Classifier,
        keys: RecipientKeys,
    ) -> None:
        """Take what the fold's transaction works with."""
        self._connection = connection
        self._sheet = sheet
        self._changes = changes
        self._mailings = mailings
        self._classifier = classifier
        self._keys = keys
        self._firsts: dict[tuple[int, str], int] = {}
        self._labels: dict[int, str] = {}
        self._took: dict[int, int] = {}
        self._hits: dict[tuple[Kind, Nature], int] = {}

    def fold(self, known: Known, facts: Sequence[Fact]) -> None:
        """Merge new facts into a delivery and count what changed."""
        if len(facts) == 1 and not known.earlier and facts[0].event.kind not in HITS:
            if known.mailing and known.fate:
                self._follow(known.mailing, known.fate, facts[0])
                return
            if not known.fate and facts[0].event.kind in OPENING:
                self._begin(Fate(known.id), facts[0])
                return
        self._fold(known, facts)

    def _begin(self, fate: Fate, fact: Fact) -> None:
        """Fold the first fact of a delivery, when it is the only one: most are."""
        merge(fate, fact.event)
        mailing = self._open(fate, fact.event)
        self._changes.event(fact, None)
        self._first(mailing, fact.event)
        count_fate(self._sheet, fate, +1)
        self._changes.fate(fate, new=True, opener=fact.event)

    def _follow(self, mailing: Mailing, fate: Fate, fact: Fact) -> None:
        """Fold one more fact, that is no hit, of a delivery that was not hit yet."""
        before = copy(fate)
        merge(fate, fact.event)
        self._changes.event(fact, None)
        if fact.event.kind not in COUNTED_IN_FATE:
            count_event(self._sheet, fate, fact.event, None, +1)
        self._first(mailing, fact.event)
        count_change(self._sheet, before, fate)
        self._changes.fate(fate, new=False, opener=None)

    def _fold(self, known: Known, facts: Sequence[Fact]) -> None:
        """Merge any number of facts of any kind, in any order."""
        fate = known.fate or Fate(known.id)
        mailing, opener = known.mailing, None
        crowded = mailing is not None and fate.opens + fate.clicks > HITS_TOGETHER
        before = copy(fate)
        events = [fact.event for fact in facts]
        for event in events:
            merge(fate, event)
        uncounted: Sequence[Stored] = ()  # parked so far
        if mailing is None:
            opener = _opener(facts, reopening=known.pruned)
            if opener:
                uncounted = known.earlier
                mailing = self._open(fate, opener)
        if crowded:
            verdicts = [self._alone(fate, event) for event in events]
            _note_people(fate, [(e, v) for e, v in zip(events, verdicts, strict=True) if v])
        else:
            verdicts = self._judge(fate, known.earlier, events, counted=not uncounted)
        for fact, verdict in zip(facts, verdicts, strict=True):
            self._changes.event(fact, verdict)
            self._judged(fact.event, verdict)
            if fact.event.kind not in COUNTED_IN_FATE:
                count_event(self._sheet, fate, fact.event, verdict, +1)
        if mailing:
            self._count_firsts(mailing, events)
            self._count_parked(mailing, fate, uncounted)
        count_change(self._sheet, before, fate)
        self._changes.fate(fate, new=known.fate is None, opener=opener)

    def fold_outlived(self, late: Sheet, facts: Sequence[Fact]) -> None:
        """Count events whose delivery was pruned from their token's ids alone, as events only."""
        for fact in facts:
            mailing = self._mailings.of_token(self._connection, fact.event)
            fate = Fate(fact.event.delivery, mailing.id)
            verdict = self._alone(fate, fact.event)
            count_event(late, fate, fact.event, verdict, +1)
            self._judged(fact.event, verdict)
            self._first(mailing, fact.event)

    def fold_sum_only(self, late: Sheet, fact: Fact) -> None:
        """Count a hit whose sending domain keeps sums only; nothing but sums is left of it."""
        self.fold_outlived(late, [fact])
        self._sheet.counter("unkept", "", result_of(fact.event))

    def fold_unowned(self, fact: Fact) -> None:
        """Keep a fact without a delivery; a refusal counts, as a message of its own."""
        event = fact.event
        self._changes.event(fact, None)
        if event.kind not in OPENING:
            self._sheet.counter("events", "other", result_of(event))
            return
        fate = Fate(0)
        merge(fate, event)
        mailing = self._open(fate, event)
        count_fate(self._sheet, fate, +1)
        self._first(mailing, event)

    def _open(self, fate: Fate, opener: Event) -> Mailing:
        mailing = self._mailings.of(self._connection, opener)
        fate.mailing = mailing.id
        fate.recipient_key = self._keys.of(opener.recipient)
        fate.recipient_domain = opener.recipient_domain
        fate.provider = opener.provider
        fate.tags = "\n".join(opener.tags)
        return mailing

    def _count_parked(self, mailing: Mailing, fate: Fate, uncounted: Sequence[Stored]) -> None:
        """Count what was parked and is no hit; hits were counted when they were judged."""
        for stored in uncounted:
            if stored.verdict is None:
                count_event(self._sheet, fate, stored.event, None, +1)
        self._count_firsts(mailing, [stored.event for stored in uncounted])

    def _count_firsts(self, mailing: Mailing, events: Sequence[Event]) -> None:
        for event in events:
            self._first(mailing, event)
            if event.hit and event.campaign_hash:
                self._mailings.learn_hash(self._connection, mailing, event)

    def _first(self, mailing: Mailing, event: Event) -> None:
        """Count a fact in the counters that never fall."""
        key = (mailing.id, result_of(event))
        self._firsts[key] = self._firsts.get(key, 0) + 1
        self._labels[mailing.id] = mailing.label
        if event.kind is Kind.DELIVERED:
            bucket = bucket_of(event.took_ms)
            self._took[bucket] = self._took.get(bucket, 0) + 1

    def _judged(self, event: Event, verdict: Verdict | None) -> None:
        """Count a hit as it was first judged."""
        if verdict is not None:
            key = event.kind, verdict.nature
            self._hits[key] = self._hits.get(key, 0) + 1

    def finish(self) -> None:
        """Put the first facts gathered so far into the sheet."""
        for (mailing, result), n in self._firsts.items():
            self._sheet.counter("events", self._labels[mailing], result, n)
        for bucket, n in self._took.items():
            self._sheet.counter("took", "", str(bucket), n)
        for (kind, nature), n in self._hits.items():
            self._sheet.counter("hits", "", f"{REQUESTED_AS[kind]} {nature.label}", n)
        self._firsts.clear()
        self._took.clear()
        self._hits.clear()

    def _alone(self, fate: Fate, event: Event) -> Verdict | None:
        if event.kind not in HITS:
            return None
        return self._classifier.classify(_around(fate), [event])[0]

    def _judge(
        self,
        fate: Fate,
        earlier: Sequence[Stored],
        events: Sequence[Event],
        *,
        counted: bool,
    ) -> list[Verdict | None]:
        """Judge all hits of a delivery again; counts what moves among the earlier ones.

        Gives the verdicts of the new events, None for those that are no hits.
        """
        new = [event for event in events if event.kind in HITS]
        if not new and not earlier:
            return [None] * len(events)
        old = [stored for stored in earlier if stored.event.kind in HITS]
        if not fate.mailing:
            return [_PARKED if event.kind in HITS else None for event in events]
        together = [*(stored.event for stored in old), *new]
        order = sorted(range(len(together)), key=lambda i: _order(together[i]))
        judged = self._classifier.classify(_around(fate), [together[i] for i in order])
        by_index = dict(zip(order, judged, strict=True))
        for index, stored in enumerate(old):
            self._move(fate, stored, by_index[index], counted=counted)
        fate.opened_human_at = fate.clicked_human_at = 0
        _note_people(fate, [(event, by_index[i]) for i, event in enumerate(together)])
        left = iter(range(len(old), len(together)))
        return [by_index[next(left)] if event.kind in HITS else None for event in events]

    def _move(self, fate: Fate, stored: Stored, verdict: Verdict, *, counted: bool) -> None:
        if verdict != stored.verdict:
            self._changes.judged(stored, verdict)
        elif counted:
            return
        if counted and stored.verdict:
            count_event(self._sheet, fate, stored.event, stored.verdict, -1)
            if stored.verdict.nature is not verdict.nature:
                label = f"{stored.verdict.nature.label} to {verdict.nature.label}"
                self._sheet.counter("reclassified", "", label)
        count_event(self._sheet, fate, stored.event, verdict, +1)


def describes(event: Event) -> bool:
    """Tell whether an event names its delivery's dimensions."""
    return event.kind in OPENING or bool(event.sending_domain and event.recipient_domain)


def _opener(facts: Sequence[Fact], *, reopening: bool) -> Event | None:
    """Give the event that opens a row: an acceptance, exclusion or refusal.

    Other events name dimensions too, but would open the row of a delivery whose acceptance is still
    on its way; only a row that was pruned is opened again by any of them.
    """
    opening = [
        fact.event
        for fact in facts
        if fact.event.kind in OPENING or (reopening and describes(fact.event))
    ]
    return min(opening, key=_order) if opening else None


def _order(event: Event) -> tuple[int, int, str, int, str]:
    hit = event.hit
    return (
        event.at,
        NUMBER[event.kind],
        hit.user_agent if hit else "",
        hit.link if hit else 0,
        hit.address if hit else "",
    )


def _around(fate: Fate) -> Circumstances:
    delivered = fate.final_at if fate.final == _DELIVERED else 0
    return Circumstances(fate.accepted_at, delivered, fate.recipient_domain, fate.provider)


def _note_people(fate: Fate, judged: Sequence[tuple[Event, Verdict]]) -> None:
    for event, verdict in judged:
        if not verdict.human:
            continue
        if event.kind is Kind.OPENED:
            fate.opened_human_at = min(fate.opened_human_at or event.at, event.at)
        else:
            fate.clicked_human_at = min(fate.clicked_human_at or event.at, event.at)

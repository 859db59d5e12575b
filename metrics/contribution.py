"""What one delivery adds to the cubes: a pure function of its fate, and of each of its events.

Counting messages is a function of the fate: `count_fate` with sign -1 for what was known before and
+1 for what is known now leaves exactly the difference in the sheet, so corrections (a bounce after
delivery, a first open that turns out to be a machine's) move the interval they belong to. Counting
events is a function of the event and, for a hit, its verdict: `count_event`. A parked fate (no
mailing) adds nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

from metrics import measures as m
from metrics import sheet as names
from metrics.durations import bucket_of
from metrics.events import Event, Kind
from metrics.fate import HARD, IGNORED, NUMBER, SOFT, Fate
from metrics.hits import Verdict
from metrics.intervals import HOUR
from metrics.sheet import Cell, Sheet

Quarters = dict[int, Cell]
_DELIVERED, _BOUNCED, _FAILED = (
    NUMBER[Kind.DELIVERED],
    NUMBER[Kind.BOUNCED],
    NUMBER[Kind.FAILED],
)
_EXCLUDED, _REJECTED = NUMBER[Kind.EXCLUDED], NUMBER[Kind.REJECTED]
_AT_DELIVERY = {HARD: m.BOUNCED_HARD, SOFT: m.BOUNCED_SOFT}
_LATER = {HARD: m.LATER_HARD, SOFT: m.LATER_SOFT, IGNORED: m.LATER_IGNORED}
_GIVEN_UP = {
    _FAILED: (m.FAILED, names.ERROR),
    _EXCLUDED: (m.EXCLUDED, names.EXCLUSION),
    _REJECTED: (m.REJECTED, names.REJECTION),
}
_COUNTED_EACH = {
    Kind.DEFERRED: m.DEFERRED,
    Kind.UNSUBSCRIBED: m.UNSUBSCRIBES,
    Kind.COMPLAINED: m.COMPLAINTS,
    Kind.AUTOREPLIED: m.AUTOREPLIES,
}
COUNTED_IN_FATE = frozenset(Kind) - _COUNTED_EACH.keys() - {Kind.OPENED, Kind.CLICKED}
"""Kinds whose events count by what they make of the delivery only."""
_SIGHTED_EACH = frozenset({m.UNSUBSCRIBES, m.COMPLAINTS})
_HIT_MEASURES = {Kind.OPENED: (m.OPENS, m.OPENS_HUMAN), Kind.CLICKED: (m.CLICKS, m.CLICKS_HUMAN)}
_RESULTS = {kind: kind.value for kind in Kind}
_FIRSTS = (
    m.DEFERRED_MESSAGES,
    m.OPENED,
    m.OPENED_HUMAN,
    m.CLICKED,
    m.CLICKED_HUMAN,
    m.UNSUBSCRIBED,
    m.COMPLAINED,
)
_firsts: Callable[[Fate], tuple[int, ...]] = attrgetter(
    "deferred_at",
    "opened_at",
    "opened_human_at",
    "clicked_at",
    "clicked_human_at",
    "unsubscribed_at",
    "complained_at",
)
_intake: Callable[[Fate], tuple[int, ...]] = attrgetter("requested_at", "accepted_at")
_outcome: Callable[[Fate], tuple[object, ...]] = attrgetter(
    "final_at",
    "final",
    "category",
    "reason",
    "took_ms",
    "later_at",
    "later_category",
    "later_reason",
)


def count_fate(sheet: Sheet, fate: Fate, sign: int) -> None:
    """Add (or with sign -1 take back) what a delivery counts as a message."""
    if not fate.mailing:
        return
    place = _place(sheet, fate)
    _count_intake(sheet, place, fate, sign)
    _count_outcome(sheet, place, fate, sign)
    if any(firsts := _firsts(fate)):
        _count_firsts(place, firsts, sign)


def count_change(sheet: Sheet, before: Fate, after: Fate) -> None:
    """Add the difference between two fates of one delivery; the same as taking back and adding."""
    if not before.mailing:
        count_fate(sheet, after, +1)
        return
    place = _place(sheet, after)
    if _intake(before) != _intake(after):
        _count_intake(sheet, place, before, -1)
        _count_intake(sheet, place, after, +1)
    if _outcome(before) != _outcome(after):
        _count_outcome(sheet, place, before, -1)
        _count_outcome(sheet, place, after, +1)
    if (was := _firsts(before)) != (is_now := _firsts(after)):
        _count_firsts(place, was, -1)
        _count_firsts(place, is_now, +1)


def _count_firsts(place: Quarters, firsts: tuple[int, ...], sign: int) -> None:
    for at, measure in zip(firsts, _FIRSTS, strict=True):
        if at:
            _count(place, at, measure, sign)


def _count_intake(sheet: Sheet, place: Quarters, fate: Fate, sign: int) -> None:
    if fate.requested_at:
        _count(place, fate.requested_at, m.REQUESTED, sign)
        _sight(sheet, fate, fate.requested_at, m.REQUESTED, sign)
    if fate.accepted_at:
        _count(place, fate.accepted_at, m.ACCEPTED, sign)


def _count_outcome(sheet: Sheet, place: Quarters, fate: Fate, sign: int) -> None:
    if fate.final:
        _count_final(sheet, place, fate, sign)
    if fate.later_at:
        _count_later(sheet, place, fate, sign)


def _count_final(sheet: Sheet, place: Quarters, fate: Fate, sign: int) -> None:
    at = fate.final_at
    if fate.final == _DELIVERED:
        _count(place, at, m.SENT, sign)
        if not _corrected(fate):
            _count(place, at, m.DELIVERED, sign)
            _sight(sheet, fate, at, m.DELIVERED, sign)
        key = (at // 3_600_000_000 * HOUR, fate.mailing, bucket_of(fate.took_ms))
        sheet.durations[key] = sheet.durations.get(key, 0) + sign
        return
    if fate.final == _BOUNCED:
        measure, facet = _AT_DELIVERY.get(fate.category, m.BOUNCED_IGNORED), names.BOUNCE
        _count(place, at, m.SENT, sign)
    else:
        measure, facet = _GIVEN_UP[fate.final]
    _count(place, at, measure, sign)
    sheet.facet(facet, at, fate.mailing, fate.reason, measure, sign)


def _corrected(fate: Fate) -> bool:
    """Tell whether a bounce by mail says that what was delivered did not arrive after all."""
    return fate.later_at != 0 and fate.later_category != IGNORED


def _count_later(sheet: Sheet, place: Quarters, fate: Fate, sign: int) -> None:
    """Count a bounce by mail, unless the remote had refused the delivery already."""
    if fate.final == _BOUNCED:
        return
    # It belongs to the interval of the delivery it corrects: sent = delivered + bounced in each.
    corrects = fate.final == _DELIVERED and _corrected(fate)
    at = fate.final_at if corrects else fate.later_at
    measure = _LATER[fate.later_category]
    _count(place, at, measure, sign)
    sheet.facet(names.BOUNCE, at, fate.mailing, fate.later_reason, measure, sign)


def count_event(sheet: Sheet, fate: Fate, event: Event, verdict: Verdict | None, sign: int) -> None:
    """Add (or take back) what an event counts as an event; `verdict` for hits only."""
    if not fate.mailing:
        return
    if verdict is not None:
        _count_hit(sheet, fate, event, verdict, sign)
        return
    measure = _COUNTED_EACH.get(event.kind)
    if measure is not None:
        _count(_place(sheet, fate), event.at, measure, sign)
        if measure in _SIGHTED_EACH:
            _sight(sheet, fate, event.at, measure, sign)


def _count_hit(sheet: Sheet, fate: Fate, event: Event, verdict: Verdict, sign: int) -> None:
    at, place = event.at, _place(sheet, fate)
    pair = _HIT_MEASURES[event.kind]
    for measure in pair if verdict.human else pair[:1]:
        _count(place, at, measure, sign)
        _sight(sheet, fate, at, measure, sign)
        sheet.facet(names.PLATFORM, at, fate.mailing, verdict.platform, measure, sign)
        sheet.facet(names.NATURE, at, fate.mailing, verdict.nature.label, measure, sign)
        if event.kind is Kind.CLICKED and event.hit:
            sheet.facet(names.LINK, at, fate.mailing, event.hit.url, measure, sign)


def _place(sheet: Sheet, fate: Fate) -> Quarters:
    return sheet.place(fate.mailing, fate.recipient_domain, fate.provider, fate.tags)


def _count(place: Quarters, at: int, measure: int, sign: int) -> None:
    quarter = at // 900_000_000
    cell = place.get(quarter)
    if cell is None:
        place[quarter] = {measure: sign}
    else:
        cell[measure] = cell.get(measure, 0) + sign


def _sight(sheet: Sheet, fate: Fate, at: int, measure: int, sign: int) -> None:
    """Note that a recipient was seen in an hour; a recipient without a key is not counted."""
    if fate.recipient_key:
        hour = at // 3_600_000_000 * HOUR
        key = (measure, hour, fate.mailing, fate.recipient_domain, fate.recipient_key)
        sheet.seen[key] = sheet.seen.get(key, 0) + sign


def result_of(event: Event) -> str:
    """Name an event for the first-fact counters: its kind, a bounce with its category."""
    if event.kind is not Kind.BOUNCED:
        return _RESULTS[event.kind]
    when = "later" if event.returned else "bounced"
    return f"{when}_{event.category if event.category in _LATER else IGNORED}"

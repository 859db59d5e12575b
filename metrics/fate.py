"""What became of one delivery: all its facts merged into one row, in whatever order they arrive.

`merge` is commutative and associative: two orders of the same events give the same `Fate`. Each
field is a sum, a minimum or the smallest of a tuple. A fate without a mailing is parked: something
is known about a delivery whose acceptance has not been seen yet (DESIGN section 2). Times are
microseconds since the epoch, 0 for "never".
"""

from __future__ import annotations

import msgspec

from metrics.events import Event, Kind

NUMBER: dict[Kind, int] = {kind: number for number, kind in enumerate(Kind, 1)}
"""The number a kind is stored as. Kinds may only be added at the end."""
KINDS: dict[int, Kind] = {number: kind for kind, number in NUMBER.items()}

OPENING = frozenset({Kind.ACCEPTED, Kind.EXCLUDED, Kind.REJECTED})
"""Kinds whose event carries every dimension: they open a delivery's row."""
HITS = frozenset({Kind.OPENED, Kind.CLICKED})
_TERMINAL = frozenset({Kind.DELIVERED, Kind.BOUNCED, Kind.FAILED, Kind.EXCLUDED, Kind.REJECTED})
HARD, SOFT, IGNORED = "hard", "soft", "ignored"
_WEIGHT = {HARD: 0, SOFT: 1, IGNORED: 2}


class Fate(msgspec.Struct, gc=False):
    """The merged facts of one delivery; the fields are the columns of its row, in order."""

    id: int
    mailing: int = 0  # account, sending domain, campaign and template; 0: parked
    recipient_key: int = 0
    recipient_domain: str = ""
    provider: str = ""
    tags: str = ""  # separated by line ends
    requested_at: int = 0
    accepted_at: int = 0
    final: int = 0  # number of the terminal kind, 0 while there is none
    final_at: int = 0
    category: str = ""
    reason: str = ""
    took_ms: int = 0
    finals: int = 0  # terminal events seen; more than one is an anomaly
    deferrals: int = 0
    deferred_at: int = 0
    later_at: int = 0  # of a bounce that came back after delivery
    later_category: str = ""
    later_reason: str = ""
    opens: int = 0
    opened_at: int = 0
    opened_human_at: int = 0
    clicks: int = 0
    clicked_at: int = 0
    clicked_human_at: int = 0
    unsubscribes: int = 0
    unsubscribed_at: int = 0
    complaints: int = 0
    complained_at: int = 0
    autoreplies: int = 0


def _earlier(known: int, new: int) -> int:
    return new if not known or new < known else known


def merge(fate: Fate, event: Event) -> None:
    """Add one event to a fate. Human times are not known here; `judge` sets them."""
    kind, at = event.kind, event.at
    if kind in OPENING:
        fate.requested_at = _earlier(fate.requested_at, at)
        if kind is Kind.ACCEPTED:
            fate.accepted_at = _earlier(fate.accepted_at, at)
            return
    if kind is Kind.BOUNCED and event.returned:
        _merge_later(fate, event)
    elif kind in _TERMINAL:
        _merge_final(fate, event)
    else:
        _merge_engagement(fate, kind, at)


def _merge_engagement(fate: Fate, kind: Kind, at: int) -> None:
    if kind is Kind.DEFERRED:
        fate.deferrals += 1
        fate.deferred_at = _earlier(fate.deferred_at, at)
    elif kind is Kind.OPENED:
        fate.opens += 1
        fate.opened_at = _earlier(fate.opened_at, at)
    elif kind is Kind.CLICKED:
        fate.clicks += 1
        fate.clicked_at = _earlier(fate.clicked_at, at)
    elif kind is Kind.UNSUBSCRIBED:
        fate.unsubscribes += 1
        fate.unsubscribed_at = _earlier(fate.unsubscribed_at, at)
    elif kind is Kind.COMPLAINED:
        fate.complaints += 1
        fate.complained_at = _earlier(fate.complained_at, at)
    else:
        fate.autoreplies += 1


def _merge_final(fate: Fate, event: Event) -> None:
    """Keep the earliest terminal event; more than one is an anomaly that `finals` shows."""
    fate.finals += 1
    new = (event.at, NUMBER[event.kind], event.category, event.reason, event.took_ms)
    if fate.finals == 1 or new < (
        fate.final_at,
        fate.final,
        fate.category,
        fate.reason,
        fate.took_ms,
    ):
        fate.final_at, fate.final, fate.category, fate.reason, fate.took_ms = new


def _merge_later(fate: Fate, event: Event) -> None:
    """Keep the weightiest returned bounce (hard before soft before ignored), then the earliest."""
    new = (_WEIGHT.get(event.category, 2), event.at, event.reason)
    if not fate.later_at or new < (
        _WEIGHT.get(fate.later_category, 2),
        fate.later_at,
        fate.later_reason,
    ):
        fate.later_category = event.category if event.category in _WEIGHT else IGNORED
        fate.later_at, fate.later_reason = event.at, event.reason

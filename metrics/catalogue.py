"""What can be asked: dimensions, measures, rates with their denominators, and which facet has what.

The lists here are the whole truth: questions are checked against them, refusals quote them, the
API's schema and the documentation are made from them.
"""

from __future__ import annotations

from typing import NamedTuple

from metrics import sheet as names
from metrics.measures import MEASURES, NAMES, RECIPIENTS

MAILING_DIMENSIONS: tuple[str, ...] = ("account", "sending_domain", "campaign", "template")
"""May be combined at will, with any interval and time zone."""


class Derived(NamedTuple):
    """A measure made from stored ones: a sum, or with `over` a rate."""

    name: str
    parts: tuple[str, ...]
    over: tuple[str, ...]
    text: str

    @property
    def denominator(self) -> str:
        """Say what a rate is divided by."""
        return " + ".join(self.over)


_HARD = ("bounced_hard", "later_hard")
_SOFT = ("bounced_soft", "later_soft")

DERIVED: dict[str, Derived] = {
    derived.name: derived
    for derived in (
        Derived("hard_bounces", _HARD, (), "bounced hard, at delivery or later"),
        Derived("soft_bounces", _SOFT, (), "bounced soft, at delivery or later"),
        Derived("bounces", (*_HARD, *_SOFT, "bounced_ignored"), (), "sent and not delivered"),
        Derived("delivery_rate", ("delivered",), ("sent",), "delivered of sent"),
        Derived("bounce_rate", (*_HARD, *_SOFT, "bounced_ignored"), ("sent",), "bounced of sent"),
        Derived("hard_bounce_rate", _HARD, ("sent",), "bounced hard of sent"),
        Derived("soft_bounce_rate", _SOFT, ("sent",), "bounced soft of sent"),
        Derived("deferral_rate", ("deferred_messages",), ("accepted",), "ever put off of accepted"),
        Derived("error_rate", ("failed",), ("accepted",), "given up of accepted"),
        Derived("exclusion_rate", ("excluded",), ("requested",), "excluded of requested"),
        Derived("open_rate", ("opened_human",), ("delivered",), "opened by people of delivered"),
        Derived("open_rate_all", ("opened",), ("delivered",), "opened by whomever of delivered"),
        Derived("click_rate", ("clicked_human",), ("delivered",), "clicked by people of delivered"),
        Derived("click_rate_all", ("clicked",), ("delivered",), "clicked by anyone of delivered"),
        Derived(
            "click_to_open_rate", ("clicked_human",), ("opened_human",), "people's clicks of opens"
        ),
        Derived("unsubscribe_rate", ("unsubscribed",), ("delivered",), "unsubscribed of delivered"),
        Derived("complaint_rate", ("complained",), ("delivered",), "complained of delivered"),
    )
}
PERCENTILES: dict[str, float] = {"delivery_p50_ms": 0.5, "delivery_p95_ms": 0.95}

_BOUNCES = ("bounced_hard", "bounced_soft", "bounced_ignored", *NAMES[11:14])
_HITS = ("opens", "opens_human", "clicks", "clicks_human")
FACET_MEASURES: dict[str, tuple[str, ...]] = {
    names.DOMAIN: NAMES,
    names.PROVIDER: NAMES,
    names.TAG: NAMES,
    names.BOUNCE: _BOUNCES,
    names.ERROR: ("failed",),
    names.EXCLUSION: ("excluded",),
    names.REJECTION: ("rejected",),
    names.PLATFORM: _HITS,
    names.NATURE: _HITS,
    names.LINK: ("clicks", "clicks_human"),
}
"""Facets (at most one per question, by UTC day or longer) and the stored measures each one has."""

DIMENSIONS: tuple[str, ...] = (*MAILING_DIMENSIONS, *FACET_MEASURES)


def describe() -> dict[str, str]:
    """Give every measure that can be asked for, with a sentence."""
    found = {m.name: f"{m.text} ({m.unit}, at: {m.moment})" for m in MEASURES}
    for d in DERIVED.values():
        found[d.name] = f"{d.text} ({(d.denominator and 'rate') or 'messages'})"
    for name, measure in RECIPIENTS.items():
        found[name] = f"distinct recipients by {NAMES[measure]} (any in the interval)"
    for name, share in PERCENTILES.items():
        found[name] = f"time from acceptance to the final reply that {share:.0%} did not exceed"
    return found


def stored_parts(measure: str) -> tuple[str, ...]:
    """Give the stored measures that a measure is made from; none for recipients and percentiles."""
    if measure in DERIVED:
        return (*DERIVED[measure].parts, *DERIVED[measure].over)
    return (measure,) if measure in NAMES else ()

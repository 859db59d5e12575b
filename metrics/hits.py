"""Who made a hit: the seam to whoever judges hits, and what its verdicts mean for the numbers.

The fold gives a `Classifier` all hits of one delivery, sorted by time, each time something is
learned about that delivery; it may think again about earlier hits. A hit counts as human when a
person caused it: `HUMAN`, or `PROXY` (an image proxy that fetches when a person opens the mail).
Prefetch, scanner and unknown hits stay in the totals and out of the human numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple, Protocol

from metrics.events import Event


class Nature(IntEnum):
    """What caused a hit. The numbers are stored; 0 means "no hit"."""

    HUMAN = 1
    PREFETCH = 2
    PROXY = 3
    SCANNER = 4
    UNKNOWN = 5

    @property
    def label(self) -> str:
        """Give the word for reports."""
        return self.name.lower()


COUNTS_AS_HUMAN = frozenset({Nature.HUMAN, Nature.PROXY})


class Verdict(NamedTuple):
    """What a classifier says of one hit: nature and platform ("iOS", "Windows"; "" where
    unknown)."""

    nature: Nature
    platform: str = ""

    @property
    def human(self) -> bool:
        """Tell whether a person caused the hit."""
        return self.nature in COUNTS_AS_HUMAN


class Circumstances(NamedTuple):
    """What is known about the delivery that was hit; times in microseconds since the epoch, 0 = not
    known."""

    accepted_at: int
    delivered_at: int
    recipient_domain: str
    provider: str


class Classifier(Protocol):
    """Judges hits by dated rules; must be a pure function of its arguments."""

    def classify(self, around: Circumstances, hits: Sequence[Event]) -> Sequence[Verdict]:
        """Give one verdict per hit, in order. `hits` are opened and clicked events of one
        delivery."""
        ...


class Unjudged:
    """The classifier used where none is given: nobody is known to be a person."""

    def classify(self, around: Circumstances, hits: Sequence[Event]) -> Sequence[Verdict]:
        """Call every hit unknown."""
        return [Verdict(Nature.UNKNOWN)] * len(hits)

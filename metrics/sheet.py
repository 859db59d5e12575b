"""A sheet of sums: what a set of facts adds to every cube, gathered before anything is written.

Entries add up and commute; an entry with sign -1 takes back what one with +1 put in. The fold fills
a sheet with the difference that its batch makes and posts it; the sum check fills one with
everything and compares. Bounded by its input: at most a handful of cells per fact.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TypeVar

from metrics.intervals import DAY, QUARTER
from metrics.measures import WIDTH

K = TypeVar("K", bound=Hashable)
Cell = list[int]

DOMAIN, PROVIDER, TAG = "recipient_domain", "provider", "tag"
BOUNCE, ERROR = "bounce_reason", "error_reason"
EXCLUSION, REJECTION = "exclusion_reason", "rejection_reason"
PLATFORM, NATURE, LINK = "platform", "nature", "link"
FACETS: tuple[str, ...] = (
    DOMAIN,
    PROVIDER,
    TAG,
    BOUNCE,
    ERROR,
    EXCLUSION,
    REJECTION,
    PLATFORM,
    NATURE,
    LINK,
)
"""Every facet that is counted per mailing and UTC day. All but the small closed ones are cut to the
1,000 values with most messages once their day is sealed; the rest is `OTHER`."""
OTHER = "other"


@dataclass(slots=True)
class Sheet:
    """Sums by cell. `places` is keyed (quarter, mailing, recipient domain, provider, tags)."""

    places: dict[tuple[int, int, str, str, str], Cell] = field(default_factory=dict)
    facets: dict[tuple[str, int, int, str], Cell] = field(default_factory=dict)
    durations: dict[tuple[int, int, int], int] = field(default_factory=dict)
    seen: dict[tuple[int, int, int, str, int], int] = field(default_factory=dict)
    counters: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def facet(self, facet: str, at: int, mailing: int, value: str, measure: int, n: int) -> None:
        """Add `n` to one measure of a facet's cell; `at` in microseconds."""
        key = (facet, at // 86_400_000_000 * DAY, mailing, value)
        cell = self.facets.get(key)
        if cell is None:
            cell = self.facets[key] = [0] * WIDTH
        cell[measure] += n

    def counter(self, name: str, sending_domain: str, label: str, n: int = 1) -> None:
        """Add to a first-fact counter."""
        key = (name, sending_domain, label)
        self.counters[key] = self.counters.get(key, 0) + n

    def time_cells(self) -> dict[tuple[int, int], Cell]:
        """Give the cells of cube 1 by (quarter in seconds, mailing)."""
        found: dict[tuple[int, int], Cell] = {}
        for (quarter, mailing, *_), cell in self.places.items():
            _add(found, (quarter * QUARTER, mailing), cell)
        return found

    def facet_cells(self) -> dict[tuple[str, int, int, str], Cell]:
        """Give the cells of cubes 2 and 3 by (facet, day in seconds, mailing, value)."""
        found = {key: cell.copy() for key, cell in self.facets.items()}
        for (quarter, mailing, domain, provider, tags), cell in self.places.items():
            day = quarter * QUARTER // DAY * DAY
            _add(found, (DOMAIN, day, mailing, domain), cell)
            if provider:
                _add(found, (PROVIDER, day, mailing, provider), cell)
            if tags:
                for tag in tags.split("\n"):
                    _add(found, (TAG, day, mailing, tag), cell)
        return found


def coarser(cells: dict[tuple[int, int], Cell], width: int) -> dict[tuple[int, int], Cell]:
    """Sum cells of cube 1 up to starts that are multiples of `width` seconds."""
    found: dict[tuple[int, int], Cell] = {}
    for (start, mailing), cell in cells.items():
        _add(found, (start // width * width, mailing), cell)
    return found


def _add(cells: dict[K, Cell], key: K, cell: Cell) -> None:
    known = cells.get(key)
    if known is None:
        cells[key] = cell.copy()
    else:
        cells[key] = [a + b for a, b in zip(known, cell, strict=True)]

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

Place = tuple[int, str, str, str]
K = TypeVar("K", bound=Hashable)
Cell = dict[int, int]
"""Sums by measure; what is not there is zero."""

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
    """Sums by cell. `places` holds, by (mailing, recipient domain, provider, tags), the cells of
    each quarter of an hour (its number since the epoch)."""

    places: dict[Place, dict[int, Cell]] = field(default_factory=dict)
    facets: dict[tuple[str, int, int, str], Cell] = field(default_factory=dict)
    durations: dict[tuple[int, int, int], int] = field(default_factory=dict)
    seen: dict[tuple[int, int, int, str, int], int] = field(default_factory=dict)
    counters: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def facet(self, facet: str, at: int, mailing: int, value: str, measure: int, n: int) -> None:
        """Add `n` to one measure of a facet's cell; `at` in microseconds."""
        key = (facet, at // 86_400_000_000 * DAY, mailing, value)
        cell = self.facets.get(key)
        if cell is None:
            self.facets[key] = {measure: n}
        else:
            cell[measure] = cell.get(measure, 0) + n

    def place(self, mailing: int, domain: str, provider: str, tags: str) -> dict[int, Cell]:
        """Give the cells of a place by quarter, to be added to."""
        key = (mailing, domain, provider, tags)
        known = self.places.get(key)
        if known is None:
            known = self.places[key] = {}
        return known

    def counter(self, name: str, sending_domain: str, label: str, n: int = 1) -> None:
        """Add to a first-fact counter."""
        key = (name, sending_domain, label)
        self.counters[key] = self.counters.get(key, 0) + n

    def time_cells(self) -> dict[tuple[int, int], Cell]:
        """Give the cells of cube 1 by (quarter in seconds, mailing)."""
        found: dict[tuple[int, int], Cell] = {}
        for (mailing, *_), quarters in self.places.items():
            for quarter, cell in quarters.items():
                add_cell(found, (quarter * QUARTER, mailing), cell)
        return found

    def facet_cells(self) -> dict[tuple[str, int, int, str], Cell]:
        """Give the cells of cubes 2 and 3 by (facet, day in seconds, mailing, value)."""
        found = {key: cell.copy() for key, cell in self.facets.items()}
        for (mailing, domain, provider, tags), quarters in self.places.items():
            for quarter, cell in quarters.items():
                day = quarter * QUARTER // DAY * DAY
                add_cell(found, (DOMAIN, day, mailing, domain), cell)
                if provider:
                    add_cell(found, (PROVIDER, day, mailing, provider), cell)
                for tag in tags.split("\n") if tags else ():
                    add_cell(found, (TAG, day, mailing, tag), cell)
        return found


def coarser(cells: dict[tuple[int, int], Cell], width: int) -> dict[tuple[int, int], Cell]:
    """Sum cells of cube 1 up to starts that are multiples of `width` seconds."""
    found: dict[tuple[int, int], Cell] = {}
    for (start, mailing), cell in cells.items():
        add_cell(found, (start // width * width, mailing), cell)
    return found


def add_cell(cells: dict[K, Cell], key: K, cell: Cell) -> None:
    """Add a cell to the one with the same key; the one given is not changed."""
    known = cells.get(key)
    if known is None:
        cells[key] = cell.copy()
        return
    for measure, n in cell.items():
        known[measure] = known.get(measure, 0) + n

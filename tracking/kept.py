"""What is kept from mail to mail, bounded by what it really holds: the least recently used goes
first.

Guarantees: what is kept never holds more than the bound, in octets of memory as the caller counted
them (`held` counts bytes objects and lists) and in number; one entry that takes more than a quarter
is not kept at all, so that no single mail clears out everybody's.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from sys import getsizeof
from typing import Generic, TypeVar

MAX_OCTETS = 8 * 1024 * 1024
_MAX_ENTRIES = 300
_ENTRY = 500  # octets of an entry's own: the pair, its place in the order, small objects

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class Kept(Generic[_Key, _Value]):
    """Values by key; belongs to one thread."""

    def __init__(self, max_octets: int = MAX_OCTETS) -> None:
        """`max_octets` bounds what all entries hold together."""
        self._limit = max_octets
        self._entries: OrderedDict[_Key, tuple[_Value, int]] = OrderedDict()
        self.octets = 0

    def __len__(self) -> int:
        """Count the entries."""
        return len(self._entries)

    def get(self, key: _Key) -> _Value | None:
        """Give what is kept under a key, None where nothing is."""
        found = self._entries.get(key)
        if found is None:
            return None
        self._entries.move_to_end(key)
        return found[0]

    def fits(self, octets: int) -> bool:
        """Tell whether an entry that holds so many octets is kept."""
        return octets + _ENTRY <= self._limit // 4

    def keep(self, key: _Key, value: _Value, octets: int) -> None:
        """Keep a value that holds so many octets, its key's included, instead of an earlier one."""
        self.drop(key)
        if not self.fits(octets):
            return
        octets += _ENTRY
        self._entries[key] = (value, octets)
        self.octets += octets
        while self.octets > self._limit or len(self._entries) > _MAX_ENTRIES:
            _, (_, oldest) = self._entries.popitem(last=False)
            self.octets -= oldest

    def add(self, key: _Key, octets: int) -> None:
        """Count octets that were added to what is kept under a key; it may be too much then."""
        found = self._entries.get(key)
        if found is not None:
            self.keep(key, found[0], found[1] - _ENTRY + octets)

    def drop(self, key: _Key) -> None:
        """Forget what is kept under a key, if anything is."""
        found = self._entries.pop(key, None)
        if found is not None:
            self.octets -= found[1]


def held(values: Iterable[object]) -> int:
    """Count the octets of memory of these objects, not of what they refer to; one that comes twice
    counts once.
    """
    return sum(map(getsizeof, {id(value): value for value in values}.values()))

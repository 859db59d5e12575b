"""A bounded memory for answers that live a limited time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from time import monotonic
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Cache(Generic[K, V]):
    """Keeps at most `entries` values, each for its time; the one used longest ago goes first."""

    def __init__(self, entries: int, *, clock: Callable[[], float] = monotonic) -> None:
        """Measure time with `clock`, in seconds."""
        self._most = entries
        self._clock = clock
        self._kept: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def __len__(self) -> int:
        """Give the number of entries, over-age ones included."""
        return len(self._kept)

    def get(self, key: K) -> V | None:
        """Give the value, None where it is missing or over age."""
        found = self._kept.get(key)
        if found is None:
            return None
        if found[0] <= self._clock():
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return found[1]

    def put(self, key: K, value: V, seconds: float) -> None:
        """Keep a value for so long."""
        self._kept[key] = (self._clock() + seconds, value)
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def drop(self, key: K) -> None:
        """Forget a value."""
        self._kept.pop(key, None)

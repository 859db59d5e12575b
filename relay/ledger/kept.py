"""What was read from the ledger and is kept in memory, each under a name and with a state.

Who keeps something says what state of the ledger it is true of (`changed_days.py`), and gets it
back for that state alone. Bounded in bytes: what is of another state by now goes first, then what
was not used for longest.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from metrics.blocks import Names

MOST_BYTES = 64 << 20
_MOST_NAMES = 50_000  # of a facet: sums are made in arrays of this length
_ENTRY = 250  # bytes of the table that an entry takes, about


class Kept:
    """What is kept, by name and state; one object for all reading threads."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        """Start with nothing."""
        self._most = most_bytes
        self._lock = threading.Lock()
        self._bytes = 0
        self._found: OrderedDict[Hashable, tuple[Hashable, Any, int]] = OrderedDict()
        self._names: dict[str, Names] = {}

    @property
    def size(self) -> int:
        """Give the bytes that are kept, about."""
        return self._bytes

    def get(self, name: Hashable, state: Hashable) -> Any | None:
        """Give what was kept under a name, if it is of this state."""
        with self._lock:
            held = self._found.get(name)
            if held is None:
                return None
            if held[0] != state:
                self._found.move_to_end(name, last=False)
                return None
            self._found.move_to_end(name)
            return held[1]

    def put(self, name: Hashable, state: Hashable, value: Any, size: int) -> None:
        """Keep a value of `size` bytes in place of the one under the same name; what name and
        state take is counted beside it."""
        size += _ENTRY + _bytes(name) + _bytes(state)
        with self._lock:
            before = self._found.pop(name, None)
            self._bytes += size - (before[2] if before else 0)
            self._found[name] = state, value, size
            while self._bytes > self._most and self._found:
                self._bytes -= self._found.popitem(last=False)[1][2]

    def names(self, facet: str) -> Names:
        """Give the names of a facet's values; when they have become too many, new ones."""
        with self._lock:
            known = self._names.get(facet)
            if known is None or len(known) > _MOST_NAMES:
                known = self._names[facet] = Names()
            return known


def _bytes(one: Hashable) -> int:
    """Give the bytes of a name or state; of a tuple with all that is in it."""
    inner = sum(map(_bytes, one)) if isinstance(one, tuple) else 0
    return sys.getsizeof(one) + inner

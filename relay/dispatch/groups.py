"""Destinations that end at the same hosts, under one bound: lanes at once, deliveries per second.

A thousand recipient domains may be served by one provider, who counts connections, not domains.
With a tally the bounds hold for all workers together, but for one lane that every worker may have.
Whoever finds a group full waits in it: lanes of the others end after their turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from relay.dispatch.destination import Destination

_BURST = 0.25  # seconds' worth of deliveries that may start at once under a rate


class Tally(Protocol):
    """Counts shared by the workers: `sum` is over all of them, `add` and `sub` are our part."""

    def add(self, key: bytes, amount: int = 1, *, lifetime: float = 0.0) -> None:
        """Add; with a lifetime the count is forgotten that many seconds later."""
        ...

    def sub(self, key: bytes, amount: int = 1) -> None:
        """Take away."""
        ...

    def sum(self, key: bytes) -> int:
        """Give the number now."""
        ...


class Group:
    """One set of hosts, as this dispatcher sees it; times are seconds of the loop's clock."""

    __slots__ = (
        "__weakref__",
        "_lanes_key",
        "_rate_key",
        "_tally",
        "_tokens",
        "_tokens_at",
        "lanes",
        "name",
        "waiting",
    )

    def __init__(self, name: str, now: float, tally: Tally | None = None) -> None:
        """Start with nothing under way."""
        self.name = name
        self.lanes = 0  # of this dispatcher
        self.waiting: dict[Destination, None] = {}  # found no room, in order
        self._tally = tally
        self._lanes_key = b"lanes:" + name.encode()
        self._rate_key = b"rate:" + name.encode()
        self._tokens = 1.0
        self._tokens_at = now

    def has_room(self, concurrency: int) -> bool:
        """Tell whether one more lane keeps to `concurrency`."""
        if self._tally is None:
            return self.lanes < concurrency
        return not self.lanes or self._tally.sum(self._lanes_key) < concurrency

    def lane_started(self) -> None:
        """Count a lane."""
        self.lanes += 1
        if self._tally is not None:
            self._tally.add(self._lanes_key)

    def lane_ended(self) -> None:
        """Count a lane no more."""
        self.lanes -= 1
        if self._tally is not None:
            self._tally.sub(self._lanes_key)

    def take_token(self, rate: float, now: float) -> bool:
        """Use up one start under `rate` per second (0: no limit), if there is one left."""
        if rate <= 0:
            return True
        most = max(rate * _BURST, 1.0)
        self._tokens = min(most, self._tokens + (now - self._tokens_at) * rate)
        self._tokens_at = now
        if self._tokens < 1.0 or not self._shared_token(rate):
            return False
        self._tokens -= 1.0
        return True

    def _shared_token(self, rate: float) -> bool:
        if self._tally is None:
            return True
        if self._tally.sum(self._rate_key) >= max(rate, 1.0):
            return False
        self._tally.add(self._rate_key, lifetime=max(1.0, 1.0 / rate))
        return True

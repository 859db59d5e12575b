"""A short memory of hosts that failed, so that not every connection learns it again.

Used for hosts that offer TLS and then break it (for an hour), and for hosts that could not be
reached (for five minutes: they are tried after the others).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

from relay.delivery.route import Target

_MAX_REMEMBERED = 10_000


class Failed:
    """Endpoints that failed lately; at most 10,000, the oldest go first."""

    def __init__(self, *, seconds: float, clock: Callable[[], float] = monotonic) -> None:
        """Remember for `seconds` of monotonic time."""
        self._seconds = seconds
        self._clock = clock
        self._until: OrderedDict[tuple[str, int], float] = OrderedDict()

    def remember(self, target: Target) -> None:
        """Note a failure."""
        self._until[target.endpoint] = self._clock() + self._seconds
        self._until.move_to_end(target.endpoint)
        while len(self._until) > _MAX_REMEMBERED:
            self._until.popitem(last=False)

    def knows(self, target: Target) -> bool:
        """Tell whether this target failed lately."""
        until = self._until.get(target.endpoint)
        if until is None:
            return False
        if until > self._clock():
            return True
        del self._until[target.endpoint]
        return False

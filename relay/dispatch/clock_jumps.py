"""Wall clocks jump; what was to be sent must still go.

Due times are wall-clock times. When the wall clock is set back, what was due soon would wait for as
long as the clock was set back: `brought_near` says which deliveries are to be made due earlier.
Scheduled mail keeps its time. A jump forward makes deliveries due early, which harms nobody;
whether they are too old is judged by delivery, which also counts attempts.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from relay.clock import SECOND, Clock
from relay.ids import made_at
from relay.message import Delivery, Disposition, Settlement, State

_TOLERANCE = 5 * SECOND
_FRESH = 2 * SECOND  # an id tells its second


class JumpWatch:
    """Compares the wall clock with the clock that never jumps."""

    def __init__(self, clock: Clock, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Start from now; `monotonic` gives seconds."""
        self._clock = clock
        self._monotonic = monotonic
        self._at = clock()
        self._since = monotonic()

    def jumped(self) -> int:
        """Give how far the wall clock was set since the last look, microseconds; 0 for not."""
        at, since = self._clock(), self._monotonic()
        jump = (at - self._at) - int((since - self._since) * SECOND)
        self._at, self._since = at, since
        return jump if abs(jump) > _TOLERANCE else 0


def brought_near(delivery: Delivery, now: int, longest_retry: int) -> Settlement | None:
    """Say how a delivery's due time changes after the clock was set back to `now`."""
    if delivery.state is not State.WAITING or delivery.not_before <= now:
        return None
    if delivery.attempt:
        due = now + longest_retry
    elif delivery.not_before <= made_at(delivery.message) + _FRESH:
        due = now  # was to go at once
    else:
        return None  # scheduled
    if delivery.not_before <= due:
        return None
    return Settlement(
        delivery=delivery.id,
        message=delivery.message,
        disposition=Disposition.RETRY,
        not_before=due,
        attempt=delivery.attempt,
        last_reply=delivery.last_reply,
        ambiguous=delivery.ambiguous,
    )

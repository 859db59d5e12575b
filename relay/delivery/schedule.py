"""When a delivery is tried again, and when it is given up.

First after 5 minutes, then twice as long each time up to 4 hours, each time shifted by up to a
fifth either way so that a failed destination does not get everything back at one moment. A delivery
is given up after 5 days, counted from its first `not_before`, but only when it was tried often
enough: a clock that jumps 10 days ahead must not bounce everything that waits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import random

from relay.clock import DAY, HOUR, MINUTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The retry schedule; times in microseconds, `jitter` as a share of the interval."""

    first: int = 5 * MINUTE
    factor: float = 2.0
    longest: int = 4 * HOUR
    lifetime: int = 5 * DAY
    jitter: float = 0.2
    chance: Callable[[], float] = random  # in [0, 1)

    @property
    def least_attempts(self) -> int:
        """Give the attempts without which nothing expires: half of those that fit into the
        lifetime.
        """
        spent, attempts = 0, 1
        while spent < self.lifetime:
            spent += max(self.interval(attempts), 1)
            attempts += 1
        return max(attempts // 2, 1)

    def interval(self, attempts: int) -> int:
        """Give the wait after so many attempts (1 or more), without jitter."""
        exponent = min(max(attempts, 1) - 1, 64)
        return int(min(self.first * self.factor**exponent, self.longest))

    def has_expired(self, *, starts_at: int, attempts: int, now: int) -> bool:
        """Tell whether a delivery started at `starts_at` and tried so often is given up."""
        return now - starts_at >= self.lifetime and attempts >= self.least_attempts

    def next_try(self, *, starts_at: int, attempts: int, now: int) -> int | None:
        """Give the moment of the next attempt after `attempts` failed ones; None to give up.

        The last attempt is made when the lifetime ends, not long before it.
        """
        if self.has_expired(starts_at=starts_at, attempts=attempts, now=now):
            return None
        wait = self.interval(attempts)
        at = now + int(wait * (1.0 + self.jitter * (2.0 * self.chance() - 1.0)))
        end = starts_at + self.lifetime
        if now < end < at:
            return end
        return at

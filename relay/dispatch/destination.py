"""What a dispatcher knows of one destination: what is ready, who serves it, how fast it may go.

Concurrency rises slowly with success (by one for every round of all lanes) and is halved by a
throttling reply, which also pauses the destination, longer each time; a success shortens the next
pause again. The share of the window grows as the destination proves quick. With a tally the limits
hold for all workers together, but for one lane that every worker may have.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from relay.dispatch.fair import FairQueue
from relay.dispatch.limits import DispatchOptions, Feedback, Limits
from relay.message import Delivery

_QUICK = 5.0  # seconds from start to end of an attempt below which a destination is quick
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


class Destination:
    """One destination; times are seconds of the loop's clock."""

    __slots__ = (
        "_lanes_key",
        "_options",
        "_pause",
        "_rate_key",
        "_tally",
        "_tokens",
        "_tokens_at",
        "allowed",
        "lanes",
        "limits",
        "name",
        "out",
        "paused_until",
        "quick",
        "ready",
        "share",
        "slowness",
        "starved",
        "used",
        "waiters",
    )

    def __init__(
        self,
        name: str,
        limits: Limits,
        options: DispatchOptions,
        now: float,
        tally: Tally | None = None,
    ) -> None:
        """Start with the initial concurrency."""
        self._tally = tally
        self._lanes_key = b"lanes:" + name.encode()
        self._rate_key = b"rate:" + name.encode()
        self.name = name
        self.limits = limits
        self._options = options
        self.ready = FairQueue()
        self.out = 0  # deliveries in the hands of lanes
        self.lanes = 0
        self.waiters: deque[tuple[float, asyncio.Future[Delivery | None]]] = deque()
        self.allowed = float(max(min(limits.initial, limits.concurrency), 1))
        self.paused_until = 0.0
        self._pause = options.pause_first
        self._tokens = 1.0
        self._tokens_at = now
        self.quick = False
        self.slowness = _QUICK
        self.share = options.share
        self.starved = False  # waits for a lane to become free
        self.used = now

    @property
    def held(self) -> int:
        """Count what is claimed for it."""
        return len(self.ready) + self.out

    def is_open(self, now: float) -> bool:
        """Tell whether a delivery may start now, rate aside."""
        return self.paused_until <= now

    def may_add_lane(self) -> bool:
        """Tell whether one more lane keeps to the concurrency allowed."""
        if self.lanes >= int(self.allowed):
            return False
        if self._tally is None or not self.lanes:
            return True
        return self._tally.sum(self._lanes_key) < self.limits.concurrency

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

    def take_token(self, now: float) -> bool:
        """Use up one start under the rate limit, if there is one left."""
        rate = self.limits.per_second
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

    def note(self, feedback: Feedback, took: float, now: float, pause: float = 0.0) -> None:
        """Learn from the end of an attempt; `took` and `pause` are seconds."""
        if feedback is Feedback.GOOD:
            self.allowed = min(self.allowed + 1.0 / self.allowed, float(self.limits.concurrency))
            self._pause = max(self._options.pause_first, self._pause * 0.9)
            self.slowness += (took - self.slowness) * 0.2
        elif feedback is Feedback.THROTTLED:
            self._slow_down(now, pause)
        elif feedback is Feedback.UNREACHABLE:
            self.allowed = max(1.0, self.allowed - 1.0)
            self.slowness += (max(took, _QUICK) - self.slowness) * 0.5
            if self.allowed == 1.0:
                self._stop_for(now, pause or self._pause)
        self.quick = self.slowness < _QUICK

    def _slow_down(self, now: float, pause: float) -> None:
        if self.paused_until > now:  # said by an attempt that was under way already
            return
        self.allowed = max(1.0, self.allowed / 2)
        self._stop_for(now, pause or self._pause)

    def _stop_for(self, now: float, pause: float) -> None:
        if self.paused_until <= now:
            self.paused_until = now + pause
            self._pause = min(self._pause * 2, self._options.pause_longest)

    def rest(self, now: float) -> None:
        """Pause after a fault of our own."""
        self._stop_for(now, self._pause)

    def ran_dry(self) -> None:
        """Grow the share: everything held was sent and more is due."""
        self.share = min(self.share * 2, max(self._options.window // 4, self._options.share))

    def stands_still(self) -> None:
        """Shrink the share: it holds more than it sends."""
        self.share = max(self.share // 2, 8)

    def is_idle(self) -> bool:
        """Tell whether nothing would be lost but what was learnt."""
        return not self.held and not self.lanes

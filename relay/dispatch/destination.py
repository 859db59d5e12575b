"""What a dispatcher knows of one destination: what is ready, who serves it, how fast it may go.

Concurrency rises slowly with success (by one for every round of all lanes) and is halved by a
throttling reply, which also pauses the destination, longer each time; a success shortens the next
pause again. The share of the window grows as the destination proves quick. Destinations whose mail
ends at the same hosts share the bounds of their group (`groups.py`).
"""

from __future__ import annotations

import asyncio
from collections import deque

from relay.dispatch.fair import FairQueue
from relay.dispatch.groups import Group, Tally
from relay.dispatch.limits import DispatchOptions, Feedback, Limits
from relay.message import Delivery

_QUICK = 5.0  # seconds from start to end of an attempt below which a destination is quick


class Destination:
    """One destination; times are seconds of the loop's clock."""

    __slots__ = (
        "_options",
        "_pause",
        "allowed",
        "group",
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
        group: Group | None = None,
    ) -> None:
        """Start with the initial concurrency; without a group it is one of its own."""
        self.group = group or Group(name, now, tally)
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
        self.quick = False
        self.slowness = _QUICK
        self.share = options.share
        self.starved = False  # waits for a lane to become free
        self.used = now

    @property
    def held(self) -> int:
        """Count what is claimed for it."""
        return self.ready.size + self.out

    def is_open(self, now: float) -> bool:
        """Tell whether a delivery may start now, rate aside."""
        return self.paused_until <= now

    def may_add_lane(self) -> bool:
        """Tell whether one more lane keeps to the concurrency allowed."""
        return self.lanes < int(self.allowed) and self.group.has_room(self.limits.concurrency)

    def lane_started(self) -> None:
        """Count a lane."""
        self.lanes += 1
        self.group.lane_started()

    def lane_ended(self) -> None:
        """Count a lane no more."""
        self.lanes -= 1
        self.group.lane_ended()

    def take_token(self, now: float) -> bool:
        """Use up one start under the rate limit, if there is one left."""
        return self.group.take_token(self.limits.per_second, now)

    def join(self, group: Group, limits: Limits) -> None:
        """Move to another group and its limits: DNS said whose hosts these are."""
        self.group.waiting.pop(self, None)
        for _ in range(self.lanes):
            self.group.lane_ended()
            group.lane_started()
        self.group = group
        self.limits = limits
        self.allowed = min(self.allowed, float(limits.concurrency))

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

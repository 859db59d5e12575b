"""How fast a destination may be served, and how much dispatch holds in memory."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Feedback(Enum):
    """What the end of an attempt says about its destination."""

    GOOD = "good"  # it took or refused the mail in its own right
    THROTTLED = "throttled"  # it asked us to slow down
    UNREACHABLE = "unreachable"  # no conversation came about
    NEUTRAL = "neutral"  # says nothing: suppressed, set aside


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of one destination, per worker unless a shared count is given.

    Destinations with the same `group` keep to them together.
    """

    concurrency: int = 20  # lanes at most
    initial: int = 5  # lanes before anything is known
    per_second: float = 0.0  # deliveries begun; 0: no limit
    group: str = ""  # whose hosts these are; "": nobody's but the destination's own


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchOptions:
    """The bounds of one dispatcher; times in seconds."""

    window: int = 10_000  # deliveries claimed at most
    lanes: int = 1_000  # lanes at most
    unproven: float = 0.8  # share of both that destinations not known to be quick may take
    share: int = 64  # deliveries of one destination at first; grows with its speed
    lingering: float = 0.5  # how long an idle lane keeps its connection
    tick: float = 0.25  # how often the shared timer looks
    settling: int = 5_000  # settlements not yet on disk at which lanes wait
    destinations: int = 20_000  # remembered at most
    turn: int = 20  # deliveries after which a lane makes room for a starved destination
    pause_first: float = 10.0  # after the first throttling reply; doubles with each
    pause_longest: float = 900.0
    retry_first: float = 300.0  # after a fault of our own
    longest_retry: float = 4 * 3600.0  # no retry is due later than this after a clock jump


NO_LIMITS = Limits()

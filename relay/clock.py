"""Wall-clock time as the project keeps it:

microseconds since 1970-01-01 UTC, as int. No local time anywhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Anything that gives the present moment in microseconds since the epoch."""

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def now() -> int:
    """Give the present moment in microseconds since the epoch (UTC)."""
    return time.time_ns() // 1000

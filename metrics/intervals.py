"""Where a moment falls: starts of quarters, hours and days in UTC, and of calendar intervals in a
zone.

Cells start at seconds since the epoch. Quarters of an hour are the finest because every time zone's
offset is a multiple of 15 minutes, so any zone's hours and days are sums of them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

QUARTER = 900
HOUR = 3600
DAY = 86_400
MICROSECONDS = 1_000_000


class Interval(StrEnum):
    """How a question cuts its range; `TOTAL` does not."""

    QUARTER = "15min"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"  # from Monday (ISO 8601)
    MONTH = "month"
    TOTAL = "total"


def quarter_of(at: int) -> int:
    """Give the start of the quarter of an hour (seconds) that a moment (microseconds) falls in."""
    return at // 900_000_000 * 900


def floor(seconds: int, interval: Interval, zone: ZoneInfo) -> int:
    """Give the start of the interval of a zone's calendar that a moment falls in, both in
    seconds."""
    if interval is Interval.QUARTER:
        return seconds - seconds % QUARTER
    moment = datetime.fromtimestamp(seconds, zone)
    if interval is Interval.HOUR:
        # Cut in absolute time: an hour that the clock repeats is two intervals.
        return seconds - moment.minute * 60 - moment.second
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if interval is Interval.WEEK:
        day -= timedelta(days=day.weekday())
    elif interval is Interval.MONTH:
        day = day.replace(day=1)
    return int(day.timestamp())


def following(start: int, interval: Interval, zone: ZoneInfo) -> int:
    """Give the start of the interval after the one that starts at `start`."""
    if interval in {Interval.QUARTER, Interval.HOUR}:
        return start + (QUARTER if interval is Interval.QUARTER else HOUR)
    days = {Interval.DAY: 1, Interval.WEEK: 7, Interval.MONTH: 31}[interval]
    # Half a day on, then back to the start: right across days of 23 and 25 hours.
    ahead = datetime.fromtimestamp(start, zone) + timedelta(days=days)
    return floor(int(ahead.replace(hour=12).timestamp()), interval, zone)


def starts(since: int, until: int, interval: Interval, zone: ZoneInfo) -> list[int]:
    """List the starts of all intervals that touch [since, until); for TOTAL just `since`."""
    if interval is Interval.TOTAL:
        return [since]
    found = []
    start = floor(since, interval, zone)
    while start < until:
        found.append(start)
        start = following(start, interval, zone)
    return found


def as_text(start: int, zone: ZoneInfo) -> str:
    """Write a start as ISO 8601 with its offset."""
    return datetime.fromtimestamp(start, UTC).astimezone(zone).isoformat()

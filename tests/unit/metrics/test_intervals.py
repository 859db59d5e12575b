"""Where moments fall, in UTC and in zones with odd offsets and changing clocks."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.intervals import DAY, HOUR, Interval, as_text, floor, following, quarter_of, starts

ZONES = [
    ZoneInfo(name)
    for name in ("UTC", "Asia/Shanghai", "Asia/Kathmandu", "Europe/Berlin", "America/St_Johns")
]


def at(text: str) -> int:
    """Read a UTC moment, in seconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@given(st.integers(0, 2**51))
def test_a_moment_lies_in_its_quarter(moment: int) -> None:
    """Microseconds fall into the quarter of an hour that holds them."""
    start = quarter_of(moment)
    assert start % 900 == 0
    assert start <= moment / 1_000_000 < start + 900


@given(
    st.integers(at("2000-01-01"), at("2037-01-01")),
    st.sampled_from([i for i in Interval if i is not Interval.TOTAL]),
    st.sampled_from(ZONES),
)
def test_intervals_tile_time(moment: int, interval: Interval, zone: ZoneInfo) -> None:
    """Each moment lies in one interval, the next begins where it ends, and both are starts."""
    start = floor(moment, interval, zone)
    after = following(start, interval, zone)
    assert start <= moment < after
    assert floor(start, interval, zone) == start
    assert floor(after, interval, zone) == after
    assert start % 900 == 0  # any zone's intervals are sums of quarters


@pytest.mark.parametrize(
    ("day", "hours"),
    [("2026-03-29T12:00", 23), ("2026-10-25T12:00", 25), ("2026-06-01T12:00", 24)],
)
def test_days_of_changing_clocks(day: str, hours: int) -> None:
    """The day the clocks change has 23 or 25 hours, and as many hourly intervals."""
    berlin = ZoneInfo("Europe/Berlin")
    start = floor(at(day), Interval.DAY, berlin)
    end = following(start, Interval.DAY, berlin)
    assert end - start == hours * HOUR
    assert len(starts(start, end, Interval.HOUR, berlin)) == hours


def test_starts_cover_the_range() -> None:
    """The first interval may begin before the range; none begins after it."""
    utc = ZoneInfo("UTC")
    since = at("2026-09-21T13:30")
    assert starts(since, since + DAY, Interval.DAY, utc) == [at("2026-09-21"), at("2026-09-22")]
    assert starts(since, since + DAY, Interval.TOTAL, utc) == [since]
    assert floor(since, Interval.WEEK, utc) == at("2026-09-21")  # a Monday
    assert floor(since, Interval.MONTH, utc) == at("2026-09-01")
    assert as_text(at("2026-09-20T16:00"), ZONES[1]) == "2026-09-21T00:00:00+08:00"

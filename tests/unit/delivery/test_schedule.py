"""When a delivery is tried again, also with clocks that jump (K01, K02)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.clock import DAY, HOUR, MINUTE
from relay.delivery.schedule import Schedule

STEADY = Schedule(jitter=0.0)
START = 1_700_000_000_000_000


def test_the_intervals_double_up_to_four_hours() -> None:
    """5, 10, 20, 40, 80, 160 minutes, then 4 hours."""
    minutes = [STEADY.interval(n) // MINUTE for n in range(1, 9)]
    assert minutes == [5, 10, 20, 40, 80, 160, 240, 240]


def test_a_failing_delivery_is_tried_for_five_days() -> None:
    """Played through: the last attempt is at the end of the lifetime, then it is given up."""
    now, attempts = START, 1
    moments = []
    while (at := STEADY.next_try(starts_at=START, attempts=attempts, now=now)) is not None:
        moments.append(at)
        now, attempts = at, attempts + 1
    assert moments[-1] == START + 5 * DAY
    assert 30 < attempts < 45
    assert attempts >= 2 * STEADY.least_attempts - 2


def test_a_clock_that_jumps_ahead_bounces_nothing() -> None:
    """K01: ten days later after one attempt is no expiry; the delivery is tried again soon."""
    at = STEADY.next_try(starts_at=START, attempts=1, now=START + 10 * DAY)
    assert at == START + 10 * DAY + 5 * MINUTE


def test_a_clock_that_jumps_back_keeps_the_wait_short() -> None:
    """K02: the next attempt is never further off than the longest interval."""
    now = START - 10 * DAY
    at = STEADY.next_try(starts_at=START, attempts=9, now=now)
    assert at == now + 4 * HOUR


@given(attempts=st.integers(1, 10_000), chance=st.floats(0, 1, exclude_max=True))
def test_jitter_stays_within_its_share(attempts: int, chance: float) -> None:
    """Never earlier than 80 % and never later than 120 % of the interval."""
    schedule = Schedule(chance=lambda: chance)
    at = schedule.next_try(starts_at=START, attempts=attempts, now=START)
    assert at is not None
    wait = at - START
    assert 0.79 * schedule.interval(attempts) <= wait <= 1.21 * schedule.interval(attempts)


@pytest.mark.parametrize("lifetime", [1, MINUTE, HOUR, 5 * DAY])
def test_any_lifetime_ends(lifetime: int) -> None:
    """Also a very short one, after at least one attempt."""
    schedule = Schedule(lifetime=lifetime)
    assert schedule.least_attempts >= 1
    assert schedule.has_expired(starts_at=START, attempts=10**6, now=START + lifetime)
    assert not schedule.has_expired(starts_at=START, attempts=10**6, now=START + lifetime - 1)

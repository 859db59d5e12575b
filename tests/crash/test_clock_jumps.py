"""K01 to K04: the wall clock jumps under a running relay (libfaketime), and the year 2038 comes.

A jump of ten days ahead bounces nothing that has hardly been tried (control: expiry by the clock
alone does); a jump back holds nothing up; logins work throughout; the monotonic clock goes on.
"""

from __future__ import annotations

import asyncio
import email.utils
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.crash_stage import UNTRACKED, CrashStage
from tests.harness.mails import Mix, mails

pytestmark = [pytest.mark.timeout(240), pytest.mark.long]
WAITS = Mix(sending_domain=UNTRACKED, domains=("451-dot.test",))
GOES = Mix(sending_domain=UNTRACKED, domains=("sink.test",))


def library() -> str:
    """Find libfaketime; skips where it is not installed."""
    for found in Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"):
        return str(found)
    if os.environ.get("WAYPOST_TEST_REQUIRE_ALL"):
        pytest.fail("libfaketime is not installed")
    pytest.skip("libfaketime is not installed")


def under_a_clock(folder: Path, broken: str = "") -> tuple[CrashStage, Callable[[str], object]]:
    """Give a stage, and what sets its wall clock ("+10d", "-1h", or "@2038-01-19 03:14:00")."""
    setting = folder / "clock"
    setting.write_text("+0\n")
    environment = {
        "LD_PRELOAD": library(),
        "FAKETIME_TIMESTAMP_FILE": str(setting),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_CACHE_DURATION": "1",
    }
    quick = {"delivery": {"pause_first_seconds": 0.1, "pause_max_seconds": 0.5}}
    stage = CrashStage(folder / "run", settings=quick, environment=environment, broken=broken)
    return stage, lambda text: setting.write_text(text + "\n")


async def tried_again(stage: CrashStage, times: int) -> None:
    """Wait until what waits was tried so many times more."""
    before = len(stage.sink.got)

    async def more() -> bool:
        return len(stage.sink.got) >= before + times

    await stage.relay.until(more, "further attempts", 60)


@pytest.mark.parametrize(("broken", "bounces"), [("", False), ("expire-by-clock", True)])
async def test_ten_days_ahead_bounce_nothing(tmp_path: Path, broken: str, bounces: bool) -> None:
    """K01, K04, and the control."""
    stage, set_clock = under_a_clock(tmp_path, broken)
    async with stage:
        await stage.drive(mails("w", 5, seed=1, mix=WAITS))
        await tried_again(stage, 5)
        await asyncio.to_thread(set_clock, "+10d")
        await tried_again(stage, 5 if bounces else 12)
        assert (await stage.drive(mails("g", 5, seed=2, mix=GOES))).acknowledged == 5
        verdict = await stage.verdict(duplicates=0, seconds=4)
    assert (verdict.kept.failed + verdict.kept.bounced > 0) is bounces
    assert verdict.kept.waiting == (0 if bounces else 5)


@pytest.mark.parametrize("jump", ["-1h", "-10d"])
async def test_a_clock_set_back_holds_nothing_up(tmp_path: Path, jump: str) -> None:
    """K02, K04."""
    stage, set_clock = under_a_clock(tmp_path)
    async with stage:
        await stage.drive(mails("w", 5, seed=1, mix=WAITS))
        await tried_again(stage, 5)
        await asyncio.to_thread(set_clock, jump)
        await tried_again(stage, 10)
        assert (await stage.drive(mails("g", 5, seed=2, mix=GOES))).acknowledged == 5
        verdict = await stage.verdict(duplicates=0, seconds=4)
    assert verdict.kept.waiting == 5
    assert verdict.kept.failed + verdict.kept.bounced == 0
    assert verdict.kept.anomalies == 0


async def test_the_end_of_32_bits_passes(tmp_path: Path) -> None:
    """K03: mail before and after 2038-01-19 03:14:07 UTC, with dates that can be read."""
    stage, set_clock = under_a_clock(tmp_path)
    set_clock("@2038-01-19 03:14:00")
    async with stage:
        for number, moment in enumerate(("@2038-01-19 03:13:30", "@2038-01-19 03:14:30")):
            await asyncio.to_thread(set_clock, moment)
            course = await stage.drive(mails(f"m{number}x", 5, seed=number, mix=GOES))
            assert course.acknowledged == 5
        verdict = await stage.verdict(duplicates=0)
    assert verdict.broken == []
    for body in stage.sink.bodies:
        received = re.search(rb"(?ms)^Received:.*?;\s+(\w{3}, [^\r\n]+)\r\n", body)
        assert received is not None
        assert email.utils.parsedate_to_datetime(received[1].decode()).year == 2038

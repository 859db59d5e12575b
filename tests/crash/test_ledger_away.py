"""Control is away for long under load, or its ledger is slow: mail goes on, facts wait in the
outbox.

At the outbox's bound MAIL gets 452 4.3.1, what was accepted is delivered, redirects still answer
and hits that could not be recorded are counted; afterwards the counts are exact. The operator sees
the lag in the metrics, and in the log who ended.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.harness.crash_stage import TRACKED, UNTRACKED, CrashStage
from tests.harness.injected import injected
from tests.harness.mails import Mix, mails

pytestmark = [pytest.mark.timeout(150), pytest.mark.long]
NARROW = {"spool": {"outbox_max_bytes": 1 << 20}}
MANY = Mix(sending_domain=TRACKED, recipients=8, largest=2000)
BURST = Mix(sending_domain=UNTRACKED, recipients=3, largest=2000)


@contextlib.asynccontextmanager
async def without_control(stage: CrashStage) -> AsyncIterator[None]:
    """Kill control and keep whoever would start it again from doing so."""
    pids = stage.relay.pids()
    os.kill(pids["supervisor"], signal.SIGSTOP)
    try:
        os.kill(pids["control"], signal.SIGKILL)
        yield
    finally:
        os.kill(pids["supervisor"], signal.SIGCONT)


async def until_refused(stage: CrashStage) -> set[str]:
    """Submit a few mails at a time until some are refused; gives how."""
    for number in range(200):
        course = await stage.drive(mails(f"m{number}x", 12, seed=number, mix=MANY))
        if course.replies:
            return {reply[:9] for reply in course.replies}
    return set()


async def figure(stage: CrashStage, name: str) -> float:
    """Give a metric, summed over its labels."""
    _, said = await stage.relay.ask("GET", "/metrics")
    return sum(map(float, re.findall(rf"(?m)^{name}(?:{{[^}}]*}})? (\S+)$", said)))


def link_of(stage: CrashStage, kind: str) -> str:
    """Give a link of ours that somebody received: c for a click, u to unsubscribe."""
    host, port = stage.relay.address("tracking")
    pattern = re.compile(rf"http://{host}:{port}/{kind}/[A-Za-z0-9_-]{{60,}}".encode())
    return next(found[0].decode() for body in stage.sink.bodies if (found := pattern.search(body)))


async def test_control_away_until_the_outbox_is_full(tmp_path: Path) -> None:
    async with (
        CrashStage(tmp_path / "run", settings=NARROW, tracked=True) as stage,
        aiohttp.ClientSession() as anybody,
    ):
        async with without_control(stage):
            assert await until_refused(stage) == {"452 4.3.1"}
            await stage.arrived()
            async with anybody.get(link_of(stage, "c"), allow_redirects=False) as clicked:
                assert clicked.status == 302
                assert clicked.headers["Location"].startswith("https://m")
            async with anybody.post(
                link_of(stage, "u"), data={"List-Unsubscribe": "One-Click"}
            ) as asked:
                assert asked.status == 503
        await stage.ready()

        async def caught_up() -> bool:
            return await figure(stage, "waypost_outbox_bytes") == 0

        await stage.relay.until(caught_up, "the outbox to be empty", 60)
        assert await figure(stage, "waypost_hits_lost_total") == 1
        async with anybody.post(
            link_of(stage, "u"), data={"List-Unsubscribe": "One-Click"}
        ) as asked:
            assert asked.status == 200
        course = await stage.drive(mails("n", 10, seed=2, mix=MANY))
        assert (course.acknowledged, course.replies) == (10, {})
        verdict = await stage.verdict(duplicates=0)
    assert verdict.broken == []
    assert "control ended with status -9" in stage.relay.log.read_text()
    assert "link to control lost" in stage.relay.log.read_text()


async def test_a_slow_ledger_delays_facts_and_no_mail(tmp_path: Path) -> None:
    async with CrashStage(tmp_path / "run") as stage:
        control = stage.relay.pids()["control"]
        async with injected(control, "fdatasync,fsync", "delay_enter=3000000"):
            course = await stage.drive(mails("m", 400, seed=1, mix=BURST), connections=8)
            assert (course.acknowledged, course.replies) == (400, {})
            await stage.arrived()

            async def behind() -> bool:
                return (
                    await figure(stage, "waypost_outbox_lag_seconds") > 1
                    and await figure(stage, "waypost_outbox_bytes") > 0
                )

            await stage.relay.until(behind, "the lag to be told", 60)
            assert await stage.relay.is_ready()
        verdict = await stage.verdict(duplicates=0, seconds=120)
    assert verdict.broken == []

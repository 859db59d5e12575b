"""P03: the worker is killed at its nth use of each system call that changes the disk; P06: again
while it starts.

One relay lives through the whole sweep, so that every recovery finds what earlier ones left. The
control tells the client 250 before the commit; the same sweep must then find mail lost.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.harness.crash_run import IN_FLIGHT
from tests.harness.crash_stage import UNTRACKED, CrashStage, Verdict
from tests.harness.injected import injected
from tests.harness.mails import Mix, mails

pytestmark = pytest.mark.timeout(300)
MIX = Mix(sending_domain=UNTRACKED)
SHORT = [("fdatasync", 1), ("fdatasync", 2), ("fdatasync", 3), ("pwrite64", 2), ("pwritev", 1)]
LONG = [
    *(("fdatasync", n) for n in range(1, 13)),
    *(("pwrite64", n) for n in range(1, 25, 2)),
    *(("pwritev", n) for n in range(1, 6)),
    *(("ftruncate", n) for n in range(1, 3)),
    *(("unlink", n) for n in range(1, 3)),
]


async def sweep(stage: CrashStage, points: Iterable[tuple[str, int]], seconds: float) -> Verdict:
    """Submit ten messages under each kill; judge at the end."""
    points = list(points)
    for index, (call, number) in enumerate(points):
        async with injected(await stage.worker(), call, f"signal=KILL:when={number}"):
            await stage.drive(mails(f"s{index}x", 10, seed=index, mix=MIX), connections=2)
    return await stage.verdict(duplicates=IN_FLIGHT * len(points), seconds=seconds)


async def test_a_kill_at_any_call_loses_nothing(tmp_path: Path) -> None:
    async with CrashStage(tmp_path / "run") as stage:
        verdict = await sweep(stage, SHORT, seconds=60)
    assert verdict.broken == []


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_the_whole_sweep(tmp_path: Path) -> None:
    async with CrashStage(tmp_path / "run") as stage:
        verdict = await sweep(stage, LONG, seconds=120)
    assert verdict.broken == []


async def test_control_an_early_250_is_noticed(tmp_path: Path) -> None:
    async with CrashStage(tmp_path / "run", broken="ack-early") as stage:
        verdict = await sweep(stage, SHORT, seconds=4)
    assert verdict.findings.lost


async def strike_at_start(stage: CrashStage, kills: int) -> None:
    """Kill the worker as soon as it lives, again and again."""
    last = 0
    for _ in range(kills):
        pid = await stage.worker(other_than=last)
        os.kill(pid, signal.SIGKILL)
        last = pid


@pytest.mark.long
@pytest.mark.parametrize(("broken", "loses"), [("", False), ("forget-claimed", True)])
async def test_kills_while_recovering_converge(tmp_path: Path, broken: str, loses: bool) -> None:
    """P06, and its control."""
    mix = Mix(sending_domain=UNTRACKED, domains=("slow-dot300.test",))  # in flight at the kill
    async with CrashStage(tmp_path / "run", broken=broken) as stage:
        await stage.drive(mails("m", 40, seed=6, mix=mix))
        await strike_at_start(stage, 5)
        verdict = await stage.verdict(duplicates=IN_FLIGHT * 5, seconds=4 if loses else 60)
    assert bool(verdict.findings.lost) is loses
    if not loses:
        assert verdict.broken == []

"""P01: 250 after DATA is written only after body and envelope are on disk, seen from outside by
strace.

The control makes the sync calls do nothing while they still report success: the same judge must
then flag every acknowledgement.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.harness.crash_stage import UNTRACKED, CrashStage
from tests.harness.fsync_order import TRACE, Verdict, judge
from tests.harness.injected import traced
from tests.harness.mails import Mix, mails

pytestmark = pytest.mark.timeout(120)
NEEDS = ("spool.sqlite-wal", ".seg")
MESSAGES = 20
MIX = Mix(sending_domain=UNTRACKED, domains=("451-rcpt.test",))  # stays in the spool: one direction


async def acknowledge(stage: CrashStage, trace: Path, *options: str) -> Verdict:
    """Submit under trace and judge it."""
    record = ("-y", "-s", "300000", "-o", str(trace), "-e", TRACE)
    async with traced(stage.relay.pids()["worker-0"], *record, *options):
        course = await stage.drive(mails("m", MESSAGES, seed=1, mix=MIX), kind="plain")
    assert course.acknowledged == MESSAGES
    text = await asyncio.to_thread(trace.read_text, errors="replace")
    return judge(text.splitlines(), NEEDS)


async def test_nothing_is_acknowledged_before_it_is_on_disk(tmp_path: Path) -> None:
    async with CrashStage(tmp_path / "run", passwordless=True) as stage:
        verdict = await acknowledge(stage, tmp_path / "trace")
    assert verdict.acknowledged == MESSAGES
    assert verdict.early == ()


async def test_control_syncs_that_do_nothing_are_flagged(tmp_path: Path) -> None:
    faked = ("-e", "inject=fsync,fdatasync:retval=0")
    async with CrashStage(tmp_path / "run", passwordless=True) as stage:
        verdict = await acknowledge(stage, tmp_path / "trace", *faked)
    assert verdict.acknowledged == MESSAGES
    assert len(verdict.early) == MESSAGES

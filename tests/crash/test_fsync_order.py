"""P01: 250 after DATA is written only after body and envelope are on disk, seen from outside by
strace.

The control makes the sync calls do nothing while they still report success: the same judge must
then flag every acknowledgement.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness.crash_stage import UNTRACKED, CrashStage
from tests.harness.fsync_order import TRACE, Verdict, judge
from tests.harness.mails import Mix, mails
from tests.harness.programs import need_program

pytestmark = pytest.mark.timeout(120)
NEEDS = ("spool.sqlite-wal", ".seg")
MESSAGES = 20
MIX = Mix(sending_domain=UNTRACKED, domains=("451-rcpt.test",))  # stays in the spool: one direction


@contextlib.asynccontextmanager
async def traced(pid: int, output: Path, *options: str) -> AsyncIterator[None]:
    """Trace a process and all its threads for the length of a block."""
    strace = need_program("strace")
    tracer = await asyncio.create_subprocess_exec(
        *(strace, "-f", "-y", "-s", "300000", "-o", str(output), "-e", TRACE, *options),
        *("-p", str(pid)),
        stderr=asyncio.subprocess.PIPE,
    )
    assert tracer.stderr is not None
    async with asyncio.timeout(20):
        assert b"attached" in await tracer.stderr.readline()
    try:
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        async with asyncio.timeout(20):
            await tracer.communicate()


async def acknowledge(stage: CrashStage, trace: Path, *options: str) -> Verdict:
    """Submit under trace and judge it."""
    async with traced(stage.relay.pids()["worker-0"], trace, *options):
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

"""P07: processes are stopped for a while (SIGSTOP) and go on (SIGCONT), as under a debugger or on a
machine that slept. Nobody takes over what belongs to one that only sleeps: nothing is lost and
nothing sent twice.

There are no leases that could run out. The fence is the lock on the spool, which a stopped process
holds; the control takes the lock away and gets in.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from pathlib import Path

import pytest

from relay.spool.local import open_spool
from relay.spool.lock import SpoolHeldError
from tests.harness.bounds import BUDGET
from tests.harness.crash_stage import UNTRACKED, CrashStage
from tests.harness.driver import Course
from tests.harness.mails import Mix, mails

pytestmark = pytest.mark.timeout(240)
MIX = Mix(sending_domain=UNTRACKED, recipients=2)


async def stopped(stage: CrashStage, name: str, run: str) -> None:
    """Stop a process under load, see mail go through the others, let it go on."""
    pid = stage.relay.pids()[name]
    halted = asyncio.Event()

    def progress(course: Course) -> None:
        if course.acknowledged >= 20 and not halted.is_set():
            os.kill(pid, signal.SIGSTOP)
            halted.set()

    first = mails(f"{run}a", 100, seed=7, mix=MIX)
    async with asyncio.TaskGroup() as tasks:
        driving = tasks.create_task(stage.drive(first, connections=6, progress=progress))
        await halted.wait()
        try:
            meanwhile = await stage.drive(mails(f"{run}b", 30, seed=8, mix=MIX), connections=2)
            assert meanwhile.acknowledged == 30
            if name.startswith("worker-"):
                path = stage.relay.data_dir / "spool" / name[-1]
                with pytest.raises(SpoolHeldError):
                    await asyncio.to_thread(open_spool, path, int(name[-1]))
        finally:
            os.kill(pid, signal.SIGCONT)
    assert driving.result().acknowledged == 100


@pytest.mark.long
@pytest.mark.parametrize("names", [("worker-0", "control"), ("supervisor", "worker-1")])
async def test_a_process_that_slept_neither_loses_nor_repeats(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    async with CrashStage(tmp_path / "run", workers=2) as stage:
        stage.bounds.budget = {**BUDGET, "lag_seconds": 60}  # who sleeps is late
        for number, name in enumerate(names):
            await stopped(stage, name, f"s{number}")
        verdict = await stage.verdict(duplicates=0)
    assert verdict.broken == []
    assert verdict.findings.duplicated == []
    assert verdict.restarts == 0


def test_control_without_the_lock_a_second_owner_gets_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spool").mkdir()
    open_spool(tmp_path / "spool" / "0", 0)
    with pytest.raises(SpoolHeldError):
        open_spool(tmp_path / "spool" / "0", 0)
    monkeypatch.setattr(fcntl, "flock", lambda _file, _how: None)
    open_spool(tmp_path / "spool" / "0", 0)

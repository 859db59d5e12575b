"""P05: the worker dies between the next hop's taking a message and the commit of that fact.

One message at a time, so that the count is exact: killed before the reply, each message arrives
twice and is counted once; killed after it, once or twice. The control forgets what was claimed:
the second arrival is missing.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from relay.sandbox.session import Arrival
from tests.harness.crash_stage import UNTRACKED, CrashStage
from tests.harness.mails import Mix, mails
from tests.harness.provision import must

pytestmark = pytest.mark.timeout(240)
KILLS = 2
MIX = Mix(sending_domain=UNTRACKED, html=False)


class Trigger:
    """Kills the worker at the first arrival of each message, before or after the reply."""

    def __init__(self, *, before: bool) -> None:
        """Choose the side of the reply."""
        self.stage: CrashStage
        self._before = before
        self._seen: set[bytes] = set()

    async def take(self, arrival: Arrival, _decision: str) -> None:
        """Strike before the reply."""
        if self._before:
            self._strike(arrival)

    def told(self, arrival: Arrival, _decision: str) -> None:
        """Strike after it."""
        if not self._before:
            self._strike(arrival)

    def _strike(self, arrival: Arrival) -> None:
        if arrival.recipients[0] not in self._seen:
            self._seen.add(arrival.recipients[0])
            os.kill(self.stage.relay.pids()["worker-0"], signal.SIGKILL)


async def one_by_one(path: Path, *, before: bool, broken: str = "") -> tuple[CrashStage, list[int]]:
    """Give the stage after its run and how often each message arrived."""
    trigger = Trigger(before=before)
    stage = CrashStage(path, broken=broken, take=trigger.take, told=trigger.told)
    trigger.stage = stage
    async with stage:
        for number in range(KILLS):
            await stage.drive(mails(f"k{number}x", 1, seed=number, mix=MIX), connections=1)
            await stage.arrived()
            if not broken:  # what is delivered and not yet committed would come once more
                await counted(stage, number + 1)
        verdict = await stage.verdict(duplicates=KILLS, seconds=4 if broken else 60)
    if not broken:
        assert verdict.broken == []
    arrivals = [got.recipients[0] for got in stage.sink.got]
    return stage, [arrivals.count(name) for name in dict.fromkeys(arrivals)]


async def counted(stage: CrashStage, delivered: int) -> None:
    """Wait until the ledger counts so many: then the spool has their end on disk."""

    async def there() -> bool:
        rows = (await must(stage.relay, "GET", "/stats?measures=delivered"))["rows"]
        return bool(rows) and rows[0]["values"]["delivered"] == delivered

    await stage.relay.until(there, f"{delivered} deliveries to be counted", 60)


async def test_killed_before_the_reply_each_arrives_twice(tmp_path: Path) -> None:
    _, counts = await one_by_one(tmp_path / "run", before=True)
    assert counts == [2] * KILLS


@pytest.mark.long
async def test_killed_after_the_reply_each_arrives_once_or_twice(tmp_path: Path) -> None:
    _, counts = await one_by_one(tmp_path / "run", before=False)
    assert len(counts) == KILLS
    assert set(counts) <= {1, 2}


async def test_control_a_forgotten_claim_is_noticed(tmp_path: Path) -> None:
    _, counts = await one_by_one(tmp_path / "run", before=True, broken="forget-claimed")
    assert counts == [1] * KILLS

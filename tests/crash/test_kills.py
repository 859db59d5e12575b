"""kill -9 of each kind of process under load: nothing acknowledged is lost, counts are exact
(I1-I6).

The short form kills one of each kind in one run; `long` takes fifty seeds, each with its own kind
of load (loads.py). The controls break a promise on purpose and must be noticed.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.crash_run import Scene, crash_run
from tests.harness.gremlin import Strike, plan
from tests.harness.loads import scene_of

pytestmark = pytest.mark.timeout(240)
VICTIMS = {
    "workers": ("worker-0", "worker-1"),
    "control": ("control",),
    "supervisor": ("supervisor",),
    "everybody": ("worker-0", "worker-1", "control", "supervisor"),
}


async def test_a_killed_process_of_each_kind_loses_nothing(tmp_path: Path) -> None:
    strikes = [
        Strike(after=20, name="worker-0"),
        Strike(after=70, name="control"),
        Strike(after=120, name="supervisor"),
    ]
    outcome = await crash_run(tmp_path / "run", Scene(messages=200, strikes=strikes))
    assert outcome.broken == []
    assert {one.name for one in outcome.struck} == {one.name for one in strikes}


@pytest.mark.long
@pytest.mark.parametrize("victims", VICTIMS)
async def test_a_killed_process_loses_nothing(tmp_path: Path, victims: str) -> None:
    strikes = plan(1, VICTIMS[victims], messages=150, strikes=2)
    outcome = await crash_run(tmp_path / "run", Scene(messages=150, strikes=strikes))
    assert outcome.broken == []
    assert outcome.struck


async def test_without_kills_nothing_is_duplicated(tmp_path: Path) -> None:
    outcome = await crash_run(tmp_path / "run", Scene(messages=100))
    assert outcome.broken == []
    assert outcome.verdict.findings.duplicated == []


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(50))
async def test_fifty_seeds(tmp_path: Path, seed: int) -> None:
    outcome = await crash_run(tmp_path / "run", scene_of(seed, kills=4))
    assert outcome.broken == [], outcome.summary


async def test_control_forgetting_what_was_claimed_is_noticed(tmp_path: Path) -> None:
    strikes = plan(1, ("worker-0", "worker-1"), messages=200, strikes=4)
    scene = Scene(messages=200, strikes=strikes, broken="forget-claimed", seconds=4)
    outcome = await crash_run(tmp_path / "run", scene)
    assert outcome.verdict.findings.lost


@pytest.mark.long
@pytest.mark.parametrize("what", ["tasks", "descriptors"])
async def test_control_what_workers_hold_is_noticed(tmp_path: Path, what: str) -> None:
    scene = Scene(messages=500, workers=1, broken=f"leak-{what}")
    outcome = await crash_run(tmp_path / "run", scene)
    assert [one.split(" ")[0] for one in outcome.verdict.findings.unbounded] == [what]

"""The gremlin strikes when its moment has come, and only what it was told to."""

from __future__ import annotations

import signal
import subprocess
import sys

from tests.harness.gremlin import Gremlin, Strike, plan
from tests.harness.processes import alive, cost, tree


def nap() -> subprocess.Popen[bytes]:
    """Start a process that does nothing."""
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


def test_plan_is_the_same_for_the_same_seed() -> None:
    names = ("worker-0", "control")
    assert plan(7, names, 100, 5) == plan(7, names, 100, 5)
    assert plan(7, names, 100, 5) != plan(8, names, 100, 5)
    assert all(
        1 <= strike.after <= 90 and strike.name in names for strike in plan(7, names, 100, 9)
    )


def test_strikes() -> None:
    victim, other = (nap() for _ in range(2))
    try:
        gremlin = Gremlin(
            [
                Strike(after=10, name="worker-0"),
                Strike(after=10, name="nobody"),
                Strike(after=99, name="b"),
            ],
            lambda: {"worker-0": victim.pid, "b": other.pid},
        )
        gremlin.progress(9)
        assert alive(victim.pid)
        gremlin.progress(10)
        assert victim.wait(10) == -signal.SIGKILL
        assert alive(other.pid)
        assert [(s.name, s.pid) for s in gremlin.done] == [("worker-0", victim.pid)]
        gremlin.progress(1000)
        assert other.wait(10) == -signal.SIGKILL
    finally:
        for process in (victim, other):
            process.kill()
            process.wait(10)


def test_processes_are_measured() -> None:
    process = nap()
    try:
        found = cost(process.pid)
        assert found.peak > 0
        assert found.descriptors > 0
    finally:
        process.kill()
        process.wait(10)
    assert cost(process.pid).peak == 0
    assert not alive(process.pid)
    assert tree(1)[0] == 1

"""kill -9 at any moment, also while recovering: the spool keeps every promise (P03, P06)."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from tests.harness.programs import need_program
from tests.harness.spool_promises import Promises, broken_promises, run_child

needs_strace = pytest.mark.usefixtures("strace")


@pytest.fixture
def strace() -> str:
    """Give the program; the test is skipped, or in CI fails, without it."""
    return need_program("strace")


async def kills(path: Path, seed: int, rounds: int) -> Promises:
    """Kill the child again and again on the same spool."""
    dice = random.Random(seed)  # noqa: S311 - a repeatable choice
    promises = Promises()
    for n in range(rounds):
        promises.hear(run_child(path, seed * 50 + n, 400, lines=dice.randrange(2, 600)))
    return promises


@pytest.mark.parametrize("seed", range(3))
async def test_kills_at_any_moment(tmp_path: Path, seed: int) -> None:
    promises = await kills(tmp_path / "spool", seed, 4)
    assert await broken_promises(tmp_path / "spool", promises) == []
    assert promises.acked


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(100, 150))
async def test_many_kills_at_any_moment(tmp_path: Path, seed: int) -> None:
    promises = await kills(tmp_path / "spool", seed, 10)
    assert await broken_promises(tmp_path / "spool", promises) == []


def injected(call: str, number: int) -> list[str]:
    return [
        "strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}",
        "-e", f"inject={call}:signal=KILL:when={number}",
    ]  # fmt: skip


async def sweep(path: Path, call: str, numbers: range) -> int:
    """Kill at the nth use of a system call, for each n; gives how many kills struck."""
    struck = 0
    for number in numbers:
        spool = path / f"{call}-{number}"
        promises = Promises()
        promises.hear(run_child(spool, number, 40, under=injected(call, number)))
        struck += promises.last != "closed"
        assert await broken_promises(spool, promises) == [], f"{call} number {number}"
        shutil.rmtree(spool)
    return struck


@needs_strace
@pytest.mark.parametrize(
    ("call", "numbers"),
    [
        ("fdatasync", range(1, 60, 12)),
        ("pwritev2", range(1, 40, 12)),
        ("pwrite64", range(2, 400, 90)),
    ],
)
async def test_kills_at_system_calls(tmp_path: Path, call: str, numbers: range) -> None:
    assert await sweep(tmp_path, call, numbers)


@needs_strace
@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("call", "numbers"),
    [
        ("fdatasync", range(1, 80)),
        ("fsync", range(1, 6)),
        ("pwritev2", range(1, 45)),
        ("pwrite64", range(1, 500, 7)),
        ("ftruncate", range(1, 6)),
        ("unlink", range(1, 6)),
        ("rename", range(1, 10)),
        ("mkdir", range(1, 4)),
        ("openat", range(500, 800, 20)),
    ],
)
async def test_many_kills_at_system_calls(tmp_path: Path, call: str, numbers: range) -> None:
    await sweep(tmp_path, call, numbers)


@needs_strace
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.parametrize(
    ("call", "first"), [("fdatasync", 14), ("fsync", 4), ("pwrite64", 60), ("pwritev2", 5)]
)
async def test_a_disk_that_breaks_is_not_believed(
    tmp_path: Path, call: str, first: int, error: str
) -> None:
    under = [
        "strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}",
        "-e", f"inject={call}:error={error}:when={first}+",
    ]  # fmt: skip
    promises = Promises()
    promises.hear(run_child(tmp_path / "spool", 3, 40, under=under))
    assert promises.last != "closed"
    assert await broken_promises(tmp_path / "spool", promises) == []


@pytest.mark.long
@needs_strace
async def test_kills_during_recovery_converge(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    promises = Promises()
    promises.hear(run_child(spool, 1, 400, lines=500))
    for number in range(1, 9):
        promises.hear(run_child(spool, 1 + number, 5, under=injected("pwrite64", number * 3)))
    assert await broken_promises(spool, promises) == []

"""What a relay holds over a long time of ordinary work: connections come and go, a mail each.

A round is so many connections, one mail through each, all delivered; after it memory, descriptors
and tasks of worker and control and the size of write-ahead logs are read. Guarantees: `grown` names
what is higher at the end than it was once everything had warmed up (the first third of the rounds).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, fields

from tests.harness.crash_stage import UNTRACKED, CrashStage
from tests.harness.mails import Mail, Mix, mails
from tests.harness.processes import cost

MIX = Mix(sending_domain=UNTRACKED, largest=4000)
_SIDE_BY_SIDE = 4
_WAL_BOUND = 64 << 20
_SLACK = {"worker_bytes": 6 << 20, "control_bytes": 6 << 20, "descriptors": 6, "tasks": 6}
"""How much higher the end may be: what a few caches and connections more or less make."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What was held after a round."""

    connections: int  # so far
    worker_bytes: int
    control_bytes: int
    descriptors: int
    tasks: int
    wal_bytes: int

    def __str__(self) -> str:
        """Give a row of a table."""
        return "| " + " | ".join(str(getattr(self, each.name)) for each in fields(self)) + " |"


async def soak(stage: CrashStage, rounds: int, each: int) -> AsyncIterator[Held]:
    """Work so many rounds of so many connections; the worker must be the same all along."""
    pid = await stage.worker()
    for number in range(rounds):
        waiting = mails(f"s{number}x", each, seed=number, mix=MIX)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_SIDE_BY_SIDE):
                tasks.create_task(_one_by_one(stage, waiting))
        await stage.arrived()
        assert await stage.worker() == pid
        yield await _held(stage, pid, (number + 1) * each)


async def _one_by_one(stage: CrashStage, waiting: Iterator[Mail]) -> None:
    for mail in waiting:
        course = await stage.drive([mail], connections=1, kind="plain")
        assert course.acknowledged == 1, course.replies


async def _held(stage: CrashStage, pid: int, connections: int) -> Held:
    stage.bounds.highest.clear()  # tasks as of now, not the most that there ever were
    await stage.relay.until(stage.tell_bounds, "what the worker holds", 10)
    return Held(
        connections=connections,
        worker_bytes=cost(pid).resident,
        control_bytes=cost(stage.relay.pids()["control"]).resident,
        descriptors=cost(pid).descriptors,
        tasks=int(stage.bounds.most()["tasks"]),
        wal_bytes=sum(file.stat().st_size for file in stage.relay.data_dir.glob("**/*-wal")),
    )


def grown(rows: Sequence[Held]) -> list[str]:
    """Name what grew behind the first third of the rounds, and logs without end."""
    warm, end = rows[: len(rows) // 3], rows[-(len(rows) // 3) :]
    said = []
    for name, slack in _SLACK.items():
        before = max(int(getattr(row, name)) for row in warm)
        after = min(int(getattr(row, name)) for row in end)
        if after > before + slack:
            said.append(f"{name} went from {before} to {after}")
    largest = max(row.wal_bytes for row in rows)
    if largest > _WAL_BOUND:
        said.append(f"write-ahead logs had {largest} octets")
    return said

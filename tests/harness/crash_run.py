"""One run under load with kills: a relay, a sink, a driver, a gremlin, and the verdict.

Guarantees: whatever is killed is started again (children by their supervisor, a killed supervisor
by this run, as an init system would); the run ends when all that was acknowledged has arrived and
the spools are empty, or fails with what is missing; every wait is bounded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from relay.sandbox.sink import Sink
from tests.harness.checker import (
    Allowance,
    Findings,
    check,
    check_contents,
    check_counts,
    refused_for_good,
)
from tests.harness.driver import Course, Driver
from tests.harness.gremlin import Gremlin, Strike, Struck
from tests.harness.kept import Kept, integrity, read_kept
from tests.harness.ledger_file import LedgerFile, Tried, read_ledger
from tests.harness.mails import Mix, mails
from tests.harness.provision import provision, submission_door
from tests.harness.relay_under_test import RelayEndedError, RelayUnderTest

IN_FLIGHT = 64
"""Deliveries that one worker may have on the wire or settled and not yet committed at a kill: its
connections to one destination, each with one more pipelined, and a group commit on its way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a run is made of."""

    messages: int = 300
    strikes: Sequence[Strike] = ()
    seed: int = 1
    workers: int = 2
    connections: int = 8
    mix: Mix = field(default_factory=lambda: Mix(sending_domain="plain.test", recipients=2))
    kind: str = "submission"
    settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    allowed_duplicates: int | None = None  # None: IN_FLIGHT for each kill
    drain_seconds: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a run."""

    findings: Findings
    course: Course
    struck: tuple[Struck, ...]
    kept: Kept
    exit_status: int
    restarts: int
    recovery_seconds: tuple[float, ...]  # of each start after a killed supervisor

    @property
    def broken(self) -> list[str]:
        """Name everything that is not as promised."""
        wrong = list(self.findings.broken)
        if self.exit_status != 0:
            wrong.append(f"the last exit status is {self.exit_status}")
        return wrong


async def crash_run(directory: Path, scene: Scene) -> Outcome:
    """Run a scene in an empty directory."""
    sink = Sink(directory / "sink.jsonl")
    host, port = await sink.start()
    relay = _relay(directory, f"{host}:{port}", scene)
    keeper = _Keeper(relay)
    sent = list(mails("m", scene.messages, scene.seed, scene.mix))
    try:
        await relay.start()
        tenant = await provision(relay, untracked=("plain.test",), tracked=("shop.test",))
        gremlin = Gremlin(scene.strikes, relay.pids)
        door = submission_door(relay, tenant, scene.kind)
        with LedgerFile(directory / "ledger") as ledger:
            driver = Driver(
                door, ledger, progress=lambda course: gremlin.progress(course.acknowledged)
            )
            async with keeper:
                course = await driver.run(sent, scene.connections)
                await keeper.settled()
        tried = read_ledger(directory / "ledger")
        status = await _drain(relay, sink, tried, scene.drain_seconds)
    finally:
        relay.kill_all()
        await relay.stop()
        await sink.close()
    kept = read_kept(relay.data_dir)
    findings = _judge(tried, sink, scene, gremlin.done, kept)
    findings.damaged += check_contents(sink.got, sink.bodies, {m.id: m.content for m in sent})
    findings.damaged += integrity(relay.data_dir)
    return Outcome(
        findings=findings,
        course=course,
        struck=tuple(gremlin.done),
        kept=kept,
        exit_status=status,
        restarts=relay.starts - 1,
        recovery_seconds=tuple(keeper.recoveries),
    )


class _Keeper:
    """Starts the relay again when it ended without being asked to."""

    def __init__(self, relay: RelayUnderTest) -> None:
        self.recoveries: list[float] = []
        self._relay = relay
        self._task: asyncio.Task[None] | None = None
        self._quiet = asyncio.Event()
        self._quiet.set()

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._keep())

    async def __aexit__(self, *ended: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            if not self._task.cancelled() and self._task.exception() is not None:
                await self._task

    async def settled(self) -> None:
        """Wait until no restart is under way."""
        async with asyncio.timeout(60):
            await self._quiet.wait()

    async def _keep(self) -> None:
        while True:
            await self._relay.ended()
            self._quiet.clear()
            began = time.monotonic()
            while True:
                await self._relay.gone()
                try:
                    await self._relay.start()
                except RelayEndedError:
                    continue  # struck again while it was starting
                break
            self.recoveries.append(time.monotonic() - began)
            self._quiet.set()


def _relay(directory: Path, smarthost: str, scene: Scene) -> RelayUnderTest:
    settings: dict[str, dict[str, object]] = {
        "delivery": {"mode": "smarthost", "smarthost": smarthost, "smarthost_tls": "none"}
    }
    for section, values in scene.settings.items():
        settings.setdefault(section, {}).update(values)
    return RelayUnderTest(
        directory, settings=settings, environment=scene.environment, workers=scene.workers
    )


async def _drain(relay: RelayUnderTest, sink: Sink, tried: Tried, seconds: float) -> int:
    """Wait for what was promised, then stop, as often as something is still waiting in a spool.

    Gives the exit status; what does not come in time is for the checker to find.
    """
    expected = tried.addresses(tried.acknowledged)
    expected -= refused_for_good(expected)
    deadline = time.monotonic() + seconds

    async def arrived() -> bool:
        there = {r for got in sink.got if got.taken or got.uncertain for r in got.recipients}
        return expected <= there or time.monotonic() > deadline

    async def counted() -> bool:
        return await _all_ended(relay) or time.monotonic() > deadline

    while True:
        await relay.until(arrived, "all that was acknowledged to arrive", seconds + 10)
        await relay.until(counted, "all facts to be counted", seconds + 10)
        status = await relay.stop()
        kept = read_kept(relay.data_dir)
        if not (kept.waiting or kept.unsent) or time.monotonic() > deadline:
            return status
        await relay.start()


async def _all_ended(relay: RelayUnderTest) -> bool:
    """Tell whether the statistics know an end of everything that was requested."""
    try:
        status, answer = await relay.ask("GET", "/api/v1/stats")
    except (OSError, aiohttp.ClientError, TimeoutError):
        return False  # control is being started again
    if status != 200 or not answer["rows"]:
        return False
    values = answer["rows"][0]["values"]
    ends = ("delivered", "hard_bounces", "soft_bounces", "failed", "excluded")
    return bool(values["requested"] == sum(values[name] for name in ends) > 0)


def _judge(
    tried: Tried, sink: Sink, scene: Scene, struck: Sequence[Struck], kept: Kept
) -> Findings:
    returned = refused_for_good(tried.addresses(tried.recipients))
    allowed = scene.allowed_duplicates
    if allowed is None:
        allowed = IN_FLIGHT * len(struck)
    findings = check(tried, sink.got, Allowance(duplicates=allowed, returned=returned))
    findings.miscounted += check_counts(
        tried, findings, kept.counts, len(returned & tried.addresses(tried.acknowledged))
    )
    for what, count in {
        "deliveries still wait": kept.waiting,
        "outbox rows were never taken": kept.unsent,
        "accepted deliveries have no end": kept.open,
        "deliveries have two ends": kept.anomalies,
    }.items():
        if count:
            findings.miscounted.append(f"{count} {what}")
    return findings

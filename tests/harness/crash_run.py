"""One run under load with kills: a stage, a driver, a gremlin, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness.crash_stage import UNTRACKED, CrashStage, Verdict
from tests.harness.driver import Course
from tests.harness.gremlin import Gremlin, Strike, Struck
from tests.harness.mails import Mix, mails

IN_FLIGHT = 64
"""Deliveries that one worker may have on the wire, or settled and not yet committed, at a kill: its
connections to one destination, each with one more pipelined, and a group commit on its way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a run is made of."""

    messages: int = 300
    strikes: Sequence[Strike] = ()
    seed: int = 1
    workers: int = 2
    connections: int = 8
    mix: Mix = field(default_factory=lambda: Mix(sending_domain=UNTRACKED, recipients=2))
    kind: str = "submission"
    broken: str = ""
    seconds: float = 60.0  # for the end of the route


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a run."""

    verdict: Verdict
    course: Course
    struck: tuple[Struck, ...]

    @property
    def broken(self) -> list[str]:
        """Name everything that is not as promised."""
        return self.verdict.broken

    @property
    def summary(self) -> dict[str, object]:
        """Give the figures of the run, one row of a table."""
        names = [struck.name for struck in self.struck]
        return {
            "kills": len(names),
            "killed": " ".join(sorted(names)),
            **self.verdict.findings.summary,
            "recovery_seconds": max(self.verdict.recovery_seconds, default=0.0),
        }


async def crash_run(directory: Path, scene: Scene) -> Outcome:
    """Run a scene in an empty directory."""
    async with CrashStage(directory, workers=scene.workers, broken=scene.broken) as stage:
        gremlin = Gremlin(scene.strikes, stage.relay.pids)
        course = await stage.drive(
            mails("m", scene.messages, scene.seed, scene.mix),
            scene.connections,
            progress=lambda course: gremlin.progress(course.acknowledged),
            kind=scene.kind,
        )
        verdict = await stage.verdict(
            duplicates=IN_FLIGHT * len(gremlin.done), seconds=scene.seconds
        )
    return Outcome(verdict=verdict, course=course, struck=tuple(gremlin.done))

"""One run under load with kills: a stage, a driver, a gremlin, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.harness.crash_stage import TRACKED, UNTRACKED, CrashStage, Verdict
from tests.harness.driver import Course
from tests.harness.gremlin import Gremlin, Strike, Struck
from tests.harness.mails import Mail, Mix, mails

IN_FLIGHT = 64
"""Deliveries that one worker may have on the wire, or settled and not yet committed, at a kill: its
connections to one destination, each with one more pipelined, and a group commit on its way."""

WAVE = 10
"""What follows a load to strike the rest is this part of it, each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a run is made of."""

    messages: int = 300
    strikes: Sequence[Strike] = ()
    seed: int = 1
    workers: int = 2
    connections: int = 8
    mixes: Sequence[Mix] = (Mix(sending_domain=UNTRACKED, recipients=2),)  # taking turns
    door: str = "submission"
    broken: str = ""
    seconds: float = 60.0  # for the end of the route


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a run."""

    verdict: Verdict
    most: Mapping[str, float]  # that any worker held
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
            **self.most,
        }


def mails_of(scene: Scene, wave: int = 0) -> Iterator[Mail]:
    """Give the mails of a scene, its mixes taking turns; those of a later wave are fewer."""
    count = -(-scene.messages // len(scene.mixes) // (WAVE if wave else 1))
    each = (
        mails(f"m{number}x{wave}x", count, scene.seed + number + 1000 * wave, mix)
        for number, mix in enumerate(scene.mixes)
    )
    for together in zip(*each, strict=True):
        yield from together


async def crash_run(directory: Path, scene: Scene) -> Outcome:
    """Run a scene in an empty directory.

    When the load is over before all strikes fell, because who was to be struck was not alive, more
    of the same load follows once that process is there again.
    """
    async with CrashStage(
        directory,
        workers=scene.workers,
        broken=scene.broken,
        passwordless=scene.door == "plain",
        tracked=any(mix.sending_domain == TRACKED for mix in scene.mixes),
    ) as stage:
        gremlin = Gremlin(scene.strikes, stage.relay.pids)
        course = Course()
        for wave in range(1 + 2 * len(scene.strikes)):
            before = scene.messages if wave else 0
            course = await stage.drive(
                mails_of(scene, wave),
                scene.connections,
                progress=partial(_progress, gremlin, before),
                kind=scene.door,
            )
            if gremlin.finished:
                break
            await stage.relay.until(gremlin.can_strike, "somebody to strike", 60)
        verdict = await stage.verdict(
            duplicates=IN_FLIGHT * len(gremlin.done), seconds=scene.seconds
        )
        most = stage.bounds.most()
    return Outcome(verdict=verdict, most=most, course=course, struck=tuple(gremlin.done))


def _progress(gremlin: Gremlin, before: int, course: Course) -> None:
    gremlin.progress(before + course.acknowledged)

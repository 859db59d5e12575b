"""The kinds of load that kill runs are made of, and which of them a seed takes.

A seed decides everything: kind of load (seed modulo 7), whom the kills strike (modulo 4), how many
workers there are (1 + seed modulo 3), so that 84 seeds in a row take every combination once; the
mails and the moments of the kills come from the seed as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.harness.crash_run import Scene
from tests.harness.crash_stage import TRACKED, UNTRACKED
from tests.harness.gremlin import plan
from tests.harness.mails import Mix

REFUSING = ("sink.test", "defer1-rcpt.test", "defer2-dot.test", "550-rcpt.test", "554-dot.test")
DROPPING = ("sink.test", "drop1-after-dot.test", "drop1-before-dot.test", "rst1-dot.test",
            "drop1-at-rcpt.test", "slow-dot40.test")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One kind of load; mails of several mixes take turns."""

    name: str
    mixes: tuple[Mix, ...]
    messages: int
    door: str = "submission"  # STARTTLS with AUTH; tls: implicit TLS; plain: allow-listed


LOADS = (
    Load(
        name="short",
        mixes=(Mix(sending_domain=UNTRACKED, largest=2000),),
        messages=800,
    ),
    Load(
        name="tracked",
        mixes=(Mix(sending_domain=TRACKED, recipients=3),),
        messages=300,
    ),
    Load(
        name="large",
        mixes=(Mix(sending_domain=UNTRACKED, recipients=2, largest=600_000),),
        messages=120,
        door="tls",
    ),
    Load(
        name="many recipients",
        mixes=(Mix(sending_domain=TRACKED, recipients=30),),
        messages=80,
        door="tls",
    ),
    Load(
        name="refusing",
        mixes=(Mix(sending_domain=UNTRACKED, recipients=3, domains=REFUSING),),
        messages=300,
    ),
    Load(
        name="dropping",
        mixes=(Mix(sending_domain=UNTRACKED, recipients=2, domains=DROPPING),),
        messages=300,
        door="plain",
    ),
    Load(
        name="all at once",
        mixes=(
            Mix(sending_domain=TRACKED, recipients=6, domains=REFUSING + DROPPING[1:]),
            Mix(sending_domain=UNTRACKED, recipients=2, domains=DROPPING, largest=150_000),
        ),
        messages=200,
        door="plain",
    ),
)
VICTIMS = ("workers", "control", "supervisor", "anybody")


def load_of(seed: int) -> Load:
    """Give the kind of load of a seed."""
    return LOADS[seed % len(LOADS)]


def victims_of(seed: int) -> str:
    """Say whom the kills of a seed strike."""
    return VICTIMS[seed % len(VICTIMS)]


def scene_of(seed: int, kills: int, share: float = 1.0) -> Scene:
    """Make the scene of a seed; `share` of the load's messages are sent."""
    load = load_of(seed)
    workers = 1 + seed % 3
    messages = max(1, int(load.messages * share))
    names = tuple(_names(victims_of(seed), workers))
    return Scene(
        messages=messages,
        strikes=plan(seed, names, messages, kills),
        seed=seed,
        workers=workers,
        mixes=load.mixes,
        door=load.door,
        seconds=120,
    )


def _names(victims: str, workers: int) -> Iterator[str]:
    if victims in ("workers", "anybody"):
        yield from (f"worker-{number}" for number in range(workers))
    if victims in ("control", "anybody"):
        yield "control"
    if victims in ("supervisor", "anybody"):
        yield "supervisor"

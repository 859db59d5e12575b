"""Runs `spool_child`, kills it, and checks the spool it left against what it was promised."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from relay.errors import StorageError
from relay.message import Delivery
from relay.spool.local import LocalSpool, open_spool
from relay.spool.protocol import Selection
from tests.harness.spool_child import OPTIONS

ROOT = Path(__file__).parents[2]


@dataclass(slots=True)
class Promises:
    """What the child said, over all its runs."""

    tried: dict[int, tuple[str, list[int]]] = field(default_factory=dict)
    acked: set[int] = field(default_factory=set)
    ending: set[int] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)
    facts: set[str] = field(default_factory=set)
    noted: set[str] = field(default_factory=set)
    last: str = ""

    def hear(self, lines: Iterable[str]) -> None:
        """Take in lines."""
        for line in lines:
            word, *rest = line.split()
            self.last = word
            if word == "try":
                self.tried[int(rest[0])] = (rest[1], [int(d) for d in rest[2:]])
            elif word == "ack":
                self.acked.add(int(rest[0]))
            elif word == "end":
                self.ending.add(int(rest[0]))
            elif word == "ended":
                self.ended.add(int(rest[0]))
            elif word == "fact":
                self.facts.add(rest[0])
            elif word == "noted":
                self.noted.add(rest[0])


def run_child(
    path: Path,
    seed: int,
    count: int,
    *,
    lines: int | None = None,
    under: Sequence[str] = (),
    more: Sequence[str] = (),
) -> list[str]:
    """Run the child, killed once it has said so many lines; gives what it said."""
    command = [
        *under,
        sys.executable,
        "-m",
        "tests.harness.spool_child",
        *(str(path), str(seed), str(count)),
        *more,
    ]
    said: list[str] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT
    ) as child:
        assert child.stdout is not None
        for raw in child.stdout:
            if raw.endswith(b"\n"):
                said.append(raw.decode())
            if lines is not None and len(said) >= lines:
                child.kill()
                rest = child.stdout.read()
                said += [line for line in rest.decode().splitlines(keepends=True) if "\n" in line]
                break
    return said


async def broken_promises(path: Path, promises: Promises) -> list[str]:
    """Open what the child left; gives every promise that does not hold."""
    try:
        spool = await asyncio.to_thread(open_spool, path, 5, OPTIONS)
    except StorageError as error:
        return [f"the spool cannot be opened: {error}"]
    async with spool:
        try:
            return await _compare(spool, promises)
        except StorageError as error:
            return [f"the spool cannot be read: {error}"]


async def _compare(spool: LocalSpool, promises: Promises) -> list[str]:
    found = {d.id: d for d in await spool.waiting(Selection(), 1_000_000)}
    batches = await spool.batches(0, 1_000_000)
    facts = Counter(event.decode() for batch in batches for event in batch.events)
    broken = [f"fact {name} stands {count} times" for name, count in facts.items() if count > 1]
    seqs = [batch.seq for batch in batches]
    if seqs != list(range(1, len(seqs) + 1)):
        broken.append(f"outbox rows are not in sequence: {seqs[:20]}")
    broken += [f"fact {name} is lost" for name in promises.noted if not facts[name]]
    known = {d for _, deliveries in promises.tried.values() for d in deliveries}
    broken += [f"delivery {d} was never tried" for d in found if d not in known]
    for message, (sha, deliveries) in promises.tried.items():
        stored = message in promises.acked or any(d in found for d in deliveries)
        stored = stored or any(facts[f"a{d}"] for d in deliveries)
        if stored:
            broken += _check_deliveries(deliveries, found, facts, promises)
        if any(d in found for d in deliveries):
            broken += await _check_content(spool, message, sha)
    total = sum(w.waiting + w.held + w.claimed for w in await spool.destinations())
    if not total == sum(spool.totals) == len(found):
        broken.append(f"queues count {total}, totals {spool.totals}, there are {len(found)}")
    return broken


def _check_deliveries(
    deliveries: list[int], found: dict[int, Delivery], facts: Counter[str], promises: Promises
) -> list[str]:
    broken = []
    for d in deliveries:
        here, gone = d in found, bool(facts[f"d{d}"])
        if here == gone:
            broken.append(f"delivery {d} is {'both here and gone' if here else 'lost'}")
        if not facts[f"a{d}"]:
            broken.append(f"the acceptance of {d} is lost")
        if here and d in promises.ended:
            broken.append(f"delivery {d} came back after its end was on disk")
        if gone and d not in promises.ending:
            broken.append(f"delivery {d} ended by itself")
    return broken


async def _check_content(spool: LocalSpool, message: int, sha: str) -> list[str]:
    try:
        _, content = await spool.load(message)
    except (KeyError, StorageError) as error:
        return [f"message {message} cannot be read: {error!r}"]
    if hashlib.sha256(content).hexdigest() != sha:
        return [f"message {message} is not what was accepted"]
    return []

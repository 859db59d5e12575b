"""Any interleaving, repetition and cutting of several spools' batches gives the same ledger."""

from __future__ import annotations

import asyncio
import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metrics.events import Event
from relay.ledger.engine import open_ledger
from relay.ledger.fold import Folder
from relay.ledger.sums import check_sums
from relay.spool.protocol import Batch
from tests.harness.facts import START, BurstRule, batches, life, picture

Spools = dict[str, list[Batch]]


def spread(seed: int, deliveries: int, spools: int) -> Spools:
    """Let deliveries live; each fact goes to the outbox of the spool that learned it."""
    rng = random.Random(seed)  # noqa: S311 - a repeatable life
    outboxes: list[list[Event]] = [[] for _ in range(spools)]
    for number in range(1, deliveries + 1):
        own, *others = life(rng, number, START)
        outboxes[number % spools] += own
        for facts in others:
            outboxes[rng.randrange(spools)] += facts
    return {f"spool-{n}": batches(events) for n, events in enumerate(outboxes)}


async def fold_in_some_order(seed: int, spools: Spools) -> tuple[dict[str, Any], list[str]]:
    """Send batches in an order drawn from a seed: in turn per spool, some of them more than
    once."""
    rng = random.Random(seed)  # noqa: S311 - a repeatable life
    sent = dict.fromkeys(spools, 0)
    with tempfile.TemporaryDirectory() as folder:
        async with open_ledger(f"sqlite:///{Path(folder) / 'ledger.sqlite'}") as ledger:
            folder_ = Folder(ledger, BurstRule())
            while unsent := [name for name in spools if sent[name] < len(spools[name])]:
                name = rng.choice(unsent)
                upto = sent[name] + rng.randint(1, 4)
                again = rng.randint(0, sent[name])
                part = spools[name][again:upto]
                rng.shuffle(part)
                mark = await folder_.fold(name, part)
                sent[name] = min(upto, len(spools[name]))
                assert mark == sent[name]
            return await picture(ledger), await check_sums(ledger)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    life_seed=st.integers(0, 2**32),
    orders=st.tuples(st.integers(0, 2**32), st.integers(0, 2**32)),
    deliveries=st.integers(1, 12),
    spools=st.integers(1, 4),
)
def test_order_and_repetition_do_not_matter(
    life_seed: int, orders: tuple[int, int], deliveries: int, spools: int
) -> None:
    """Two orders of the same batches give the same picture, and the sum rule holds in both."""
    outboxes = spread(life_seed, deliveries, spools)
    one, wrong_one = asyncio.run(fold_in_some_order(orders[0], outboxes))
    two, wrong_two = asyncio.run(fold_in_some_order(orders[1], outboxes))
    assert wrong_one == wrong_two == []
    for part in one:
        assert one[part] == two[part], part


async def test_a_broken_mark_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a fold that forgets its mark counts repeated batches twice."""
    outboxes = spread(5, 6, 1)
    async with open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        folder = Folder(ledger, BurstRule())
        await folder.fold("spool-0", outboxes["spool-0"])
        once = await picture(ledger)
        monkeypatch.setattr("relay.ledger.fold._mark", lambda connection, spool: 0)
        await folder.fold("spool-0", outboxes["spool-0"])
        assert (await picture(ledger))["events"] != once["events"]

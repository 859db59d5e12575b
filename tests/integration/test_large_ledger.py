"""Large ledgers, filled through the real fold: what is answered is what was made."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.bulk_ledger import Load, differences, fill
from bench.large_ledger import UNTIL, measure, serve
from relay.ledger.engine import open_ledger


@pytest.mark.parametrize(
    "deliveries",
    [
        2_000,
        pytest.param(2_000_000, marks=[pytest.mark.long, pytest.mark.timeout(7200)]),
    ],
)
async def test_every_answer_agrees_with_what_was_made(tmp_path: Path, deliveries: int) -> None:
    """Totals, every campaign and some recipient domains; then every page and question answers."""
    load = Load(deliveries, UNTIL)
    async with open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        await fill(ledger, load)
        assert await differences(ledger, load) == []
        load.expected.facts["campaign-07", "inbox003.test", "delivered"] += 1
        assert await differences(ledger, load), "one delivery more or less is seen"
    async with serve(tmp_path) as site:
        table = await measure(site, rounds=5 if deliveries > 10_000 else 0)
    for name, (wall, cpu) in table.items():
        print(f"{name}: {wall:.1f} ms by the clock, {cpu:.1f} ms of CPU")  # noqa: T201 - for people

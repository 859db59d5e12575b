"""Large ledgers, filled through the real fold: what is answered is what was made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.bulk_ledger import Load, differences, fill
from bench.large_ledger import UNTIL, measure, serve
from relay.ledger import by_message
from relay.ledger.engine import open_ledger


@pytest.mark.parametrize(
    "deliveries",
    [
        2_000,
        pytest.param(
            int(os.environ.get("WAYPOST_TEST_DELIVERIES", "2000000")),
            marks=[pytest.mark.long, pytest.mark.timeout(7200)],
            id="many",
        ),
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


@pytest.mark.parametrize("window", [by_message.WINDOW, 7])
async def test_messages_of_a_campaign_add_up_to_it(
    tmp_path: Path, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page after page: every message once, and together what the campaign's statistics say."""
    monkeypatch.setattr(by_message, "WINDOW", window)
    async with open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        await fill(ledger, Load(2_000, UNTIL))
    async with serve(tmp_path) as site:
        found, cursor = [], ""
        while True:
            path = f"/messages?campaign=campaign-07&limit=20&cursor={cursor}"
            answer = (await site.admin.ask("GET", path)).json
            found += answer["items"]
            if not (cursor := answer["next"]):
                break
        measures = "requested,delivered,opened_human,clicked_human"
        day = "since=2026-08-01&until=2026-10-01"
        path = f"/stats?measures={measures}&campaign=campaign-07&{day}"
        (row,) = (await site.admin.ask("GET", path)).json["rows"]
        other = (await site.admin.ask("GET", "/messages?campaign=none")).json
        csv = (await site.admin.ask("GET", "/messages.csv?campaign=campaign-07")).text
        day = found[0]["requested_at"][:10]
        path = f"/messages?campaign=campaign-07&limit=500&since={day}"
        on_the_day = (await site.admin.ask("GET", path)).json["items"]
        path = f"/messages?campaign=campaign-07&until={day}"
        before = (await site.admin.ask("GET", path)).json["items"]
    assert len({one["message"] for one in found}) == len(found) == row["values"]["requested"] > 20
    for name, value in row["values"].items():
        assert sum(one[name] for one in found) == value, name
    times = [one["requested_at"] for one in found]
    assert times == sorted(times, reverse=True)
    assert {one["campaign"] for one in found} == {"campaign-07"}
    assert other == {"items": [], "next": ""}
    listed = [line.partition(",")[0] for line in csv.splitlines()[1:]]
    assert listed == [one["message"] for one in found]
    assert on_the_day
    assert on_the_day == found[: len(on_the_day)]
    assert before == []

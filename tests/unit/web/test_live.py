"""News for open reports: who hears what, how often, and how many may listen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from sqlalchemy import insert

from relay.ledger.engine import Ledger, open_ledger
from relay.ledger.tables import mailings
from relay.web.page import live
from relay.web.page.live import Live, Subject, TooManyListenersError


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    async with open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as opened:
        rows = [
            {"id": n, "account": 1, "sending_domain": "shop.test", "campaign": name, "template": ""}
            for n, name in ((1, "spring"), (2, "autumn"))
        ]
        await opened.write(lambda connection: connection.execute(insert(mailings), rows))
        yield opened


@pytest.fixture
async def told(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Live]:
    monkeypatch.setattr(live, "PAUSE", 0.0)
    made = Live(ledger)
    task = asyncio.create_task(made.keep_telling())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _first(news: AsyncIterator[bool]) -> bool:
    return await anext(news)


async def test_a_report_hears_of_its_own_campaign_only(told: Live) -> None:
    spring = told.follow(lambda subject: subject.campaign == "spring")
    autumn = told.follow(lambda subject: subject == Subject(1, "shop.test", "autumn"))
    async with aclosing(spring), aclosing(autumn):  # type: ignore[type-var] # they are generators
        waiting = [asyncio.create_task(_first(one)) for one in (spring, autumn)]
        await asyncio.sleep(0)  # both begin to listen
        told.touched([2])
        assert await waiting[1]
        assert not waiting[0].done()
        told.touched([1, 99])
        assert await waiting[0]


async def test_what_nobody_listens_to_is_not_kept(ledger: Ledger) -> None:
    quiet = Live(ledger)
    quiet.touched(range(100_000))
    assert not quiet._touched


async def test_a_quiet_report_is_told_so(told: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HEARTBEAT", 0.01)
    news = told.follow(lambda subject: True)
    assert await anext(news) is False


async def test_only_so_many_may_listen(told: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST", 1)
    first = told.follow(lambda subject: True)
    waiting = asyncio.create_task(_first(first))
    await asyncio.sleep(0)
    with pytest.raises(TooManyListenersError):
        await anext(told.follow(lambda subject: True))
    told.touched([1])
    assert await waiting

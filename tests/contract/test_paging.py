"""The log and audiences page by page: all of a state, once, in order, however small the pages."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace
from sqlalchemy import select

from relay.ledger import audience, state_walk, tables
from relay.ledger.audience import Audience, Wanted, whole_audience
from relay.ledger.engine import Ledger, open_ledger
from relay.ledger.fold import Folder
from relay.ledger.message_log import _STATES, Search, Stage, search_page
from tests.harness.facts import ACCOUNT, START, BurstRule, batches, life


@pytest.fixture
async def ledger(ledger_url: str) -> AsyncIterator[Ledger]:
    """A hundred made-up lives."""
    rng = random.Random(4)  # noqa: S311 - the same lives each time
    lives = [life(rng, number, START) for number in range(1, 101)]
    async with open_ledger(ledger_url) as opened:
        events = [event for one in lives for facts in one for event in facts]
        await Folder(opened, BurstRule()).fold("spool", batches(events, size=50))
        yield opened


async def _pages(ledger: Ledger, wanted: Search) -> list[int]:
    found: list[int] = []
    before = 0
    while True:
        page = await search_page(ledger, replace(wanted, before=before))
        found += [one.id for one in page.deliveries]
        if not page.next:
            return found
        before = page.next


@pytest.mark.parametrize("campaign", ["", "autumn"])
async def test_pages_of_the_log_give_each_delivery_once(ledger: Ledger, campaign: str) -> None:
    """Every state, one and three at a time, against all rows that are in it."""
    d, m = tables.deliveries.c, tables.mailings.c
    for stage in Stage:
        rows = select(d.id).join(tables.mailings, m.id == d.mailing).where(_STATES[stage])
        if campaign:
            rows = rows.where(m.campaign == campaign)
        everything = await ledger.read(lambda c, r=rows: sorted(c.scalars(r), reverse=True))  # type: ignore[misc] # lambdas have no types
        for limit in (1, 3):
            wanted = Search(state=stage, campaign=campaign, limit=limit)
            assert await _pages(ledger, wanted) == everything, stage


async def test_small_pages_of_an_audience_are_the_whole(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same members in the same order, a thousand or two at a time."""
    for group in Audience:
        wanted = Wanted(account=ACCOUNT, campaign="autumn", audience=group)
        monkeypatch.setattr(audience, "PAGE", 1000)
        whole = [one.delivery async for one in whole_audience(ledger, wanted)]
        monkeypatch.setattr(audience, "PAGE", 2)
        assert [one.delivery async for one in whole_audience(ledger, wanted)] == whole, group
        assert whole == sorted(whole)


@pytest.mark.parametrize("newest_first", [False, True])
async def test_a_walk_meets_every_id_once(ledger: Ledger, newest_first: bool) -> None:
    """Along two indexes at once, in lists of any length."""
    conditions = [tables.IN_STATE["deliveries_opened"], tables.IN_STATE["deliveries_clicked"]]
    d = tables.deliveries.c
    touched = select(d.id).where((d.opened_at > 0) | (d.clicked_at > 0), d.id >= 5, d.id < 90)
    everything = await ledger.read(lambda c: sorted(c.scalars(touched), reverse=newest_first))
    for many in (1, 2, 7, 1000):
        lists = await ledger.read(
            lambda c, n=many: list(  # type: ignore[misc] # lambdas have no types
                state_walk.walk(c, conditions, 5, 90, newest_first=newest_first, at_first=n)
            )
        )
        assert [one for some in lists for one in some] == everything

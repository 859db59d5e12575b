"""Stories, the message log, audiences and answers, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from metrics.events import Event, Kind
from metrics.intervals import DAY, HOUR, Interval
from metrics.questions import Question, UnanswerableError
from relay.clock import SECOND
from relay.ledger import crowds, message_log, sealing, tables
from relay.ledger.answers import answer
from relay.ledger.audience import Audience, Wanted, audience_page, whole_audience
from relay.ledger.engine import Ledger, open_ledger
from relay.ledger.fold import Folder
from relay.ledger.message_log import Search, Stage, search, search_page
from relay.ledger.story import story
from relay.ledger.sums import check_sums
from tests.harness.facts import START, BurstRule, about, accepted, batches, hit

MIDNIGHT = START // SECOND // DAY * DAY
MINUTE = 60 * SECOND


async def told(ledger: Ledger, *events: Event) -> None:
    """Fold events into an empty ledger."""
    await Folder(ledger, BurstRule()).fold("spool", batches(events, size=50))


@pytest.fixture
async def ledger(ledger_url: str) -> AsyncIterator[Ledger]:
    """An empty ledger."""
    async with open_ledger(ledger_url) as opened:
        yield opened


@pytest.fixture
async def campaign(ledger: Ledger) -> Ledger:
    """Seven deliveries, each with another end: see the numbers in the tests."""
    events = [accepted(n, campaign="autumn") for n in range(1, 7)]
    events.append(Event(kind=Kind.EXCLUDED, at=START, reason="suppressed", **_dims(7)))
    events.append(accepted(8, campaign="winter", account=4, sending_domain="toys.test"))
    events += [about(Kind.DELIVERED, n, START + SECOND, took_ms=1000) for n in (1, 2, 3, 4)]
    events.append(hit(Kind.OPENED, 1, START + MINUTE))
    events.append(hit(Kind.CLICKED, 1, START + 2 * MINUTE, link=1))
    events += [hit(Kind.CLICKED, 2, START + MINUTE, link=n) for n in (1, 2, 3)]  # a scanner
    events.append(about(Kind.UNSUBSCRIBED, 3, START + MINUTE, scope="domain"))
    events.append(
        about(Kind.BOUNCED, 4, START + MINUTE, returned=True, category="hard", reason="unknown")
    )
    events.append(about(Kind.DEFERRED, 5, START + SECOND, reply="451 later", transcript="one\ntwo"))
    events.append(about(Kind.BOUNCED, 6, START + SECOND, category="soft", reason="full"))
    await told(ledger, *events)
    return ledger


def _dims(number: int) -> dict[str, Any]:
    opened = accepted(number)
    return {
        name: getattr(opened, name)
        for name in ("delivery", "message", "account", "sending_domain", "recipient", "campaign")
    }


@pytest.mark.parametrize(
    ("audience", "everybody", "members"),
    [
        (Audience.OPENED, False, [1]),
        (Audience.CLICKED, False, [1]),
        (Audience.CLICKED, True, [1, 2]),
        (Audience.NEITHER, False, [2, 3]),
        (Audience.NEITHER, True, [3]),
        (Audience.MACHINE_ONLY, False, [2]),
        (Audience.DELIVERED, False, [1, 2, 3]),
        (Audience.BOUNCED, False, [4, 6]),
        (Audience.BOUNCED_HARD, False, [4]),
        (Audience.UNSUBSCRIBED, False, [3]),
        (Audience.COMPLAINED, False, []),
        (Audience.EXCLUDED, False, [7]),
    ],
)
async def test_audiences(
    campaign: Ledger, audience: Audience, everybody: bool, members: list[int]
) -> None:
    """People by default, machines apart, nobody of another account or campaign."""
    wanted = Wanted(account=3, campaign="autumn", audience=audience, everybody=everybody)
    found = [member.delivery async for member in whole_audience(campaign, wanted)]
    assert found == members
    stranger = Wanted(account=9, campaign="autumn", audience=audience, everybody=everybody)
    assert await audience_page(campaign, stranger) == []


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Search(), [8, 7, 6, 5, 4, 3, 2, 1]),
        (Search(limit=2), [8, 7]),
        (Search(limit=2, before=7), [6, 5]),
        (Search(accounts=(3,), limit=3), [7, 6, 5]),
        (Search(accounts=()), []),
        (Search(recipient="ANN3@inbox.test"), [3]),
        (Search(recipient="nobody@inbox.test"), []),
        (Search(message=5), [5]),
        (Search(message_id="<6@shop.test>"), [6]),
        (Search(campaign="winter"), [8]),
        (Search(campaign="winter", accounts=(3,)), []),
        (Search(sending_domain="toys.test"), [8]),
        (Search(state=Stage.WAITING), [8]),
        (Search(state=Stage.DEFERRED), [5]),
        (Search(state=Stage.DELIVERED), [3, 2, 1]),
        (Search(state=Stage.BOUNCED), [6, 4]),
        (Search(state=Stage.EXCLUDED), [7]),
        (Search(state=Stage.CLICKED), [2, 1]),
        (Search(state=Stage.UNSUBSCRIBED, campaign="autumn"), [3]),
    ],
)
async def test_the_message_log(campaign: Ledger, wanted: Search, found: list[int]) -> None:
    """Newest first, by key, each filter alone and together."""
    page = await search_page(campaign, wanted)
    logged = page.deliveries
    assert [delivery.id for delivery in logged] == found
    assert page.next == (found[-1] if len(found) == wanted.limit else 0)
    if wanted.state and wanted.state not in {Stage.CLICKED, Stage.UNSUBSCRIBED}:
        assert {delivery.state for delivery in logged} == {wanted.state}


@pytest.mark.parametrize(
    "wanted", [Search(state=Stage.DELIVERED), Search(campaign="autumn", state=Stage.DELIVERED)]
)
async def test_a_search_looks_at_a_bounded_number_of_rows(
    campaign: Ledger, monkeypatch: pytest.MonkeyPatch, wanted: Search
) -> None:
    """Pages of a rare state may be empty and still go on; together they hold everything, once."""
    monkeypatch.setattr(message_log, "_WINDOW", 2)
    found: list[int] = []
    pages, before = 0, 0
    while pages == 0 or before:
        page = await search_page(campaign, replace(wanted, before=before))
        found += [delivery.id for delivery in page.deliveries]
        pages, before = pages + 1, page.next
    assert found == [3, 2, 1]
    assert pages > 2
    assert [one.id for one in await search(campaign, replace(wanted, limit=2))] == [3, 2]


async def test_a_new_ledger_can_be_searched(ledger: Ledger) -> None:
    """Before anything was folded; reading needs nothing that only writing makes."""
    assert await search(ledger, Search(recipient="ann@inbox.test")) == []
    assert (await search_page(ledger, Search(state=Stage.FAILED))).next == 0


async def test_pages_are_bounded(campaign: Ledger) -> None:
    """A limit outside its bounds is refused."""
    for limit in (0, 1001):
        with pytest.raises(ValueError, match="expected 1 to 1000"):
            await search(campaign, Search(limit=limit))


async def test_a_story_is_told_in_order(campaign: Ledger) -> None:
    """Events by time, hits with what they were taken for, the last conversation."""
    told_ = await story(campaign, 1)
    assert [(t.event.kind, t.nature) for t in told_.events] == [
        (Kind.ACCEPTED, ""),
        (Kind.DELIVERED, ""),
        (Kind.OPENED, "human"),
        (Kind.CLICKED, "human"),
    ]
    assert told_.delivery.tags == ("red", "blue")
    assert (await story(campaign, 5)).transcript == "one\ntwo"
    assert (await story(campaign, 4)).delivery.reason == "unknown"
    with pytest.raises(KeyError):
        await story(campaign, 99)


async def test_answers_by_group_interval_and_zone(ledger: Ledger) -> None:
    """A day in Shanghai is not a day in UTC; every interval of an ungrouped question has a row."""
    late = (MIDNIGHT + 17 * HOUR) * SECOND  # 01:00 of the next day in Shanghai
    await told(ledger, accepted(1, late - 2 * 3600 * SECOND), accepted(2, late, campaign="winter"))
    since = MIDNIGHT - 8 * HOUR
    asked = Question(
        measures=("accepted",),
        since=since,
        until=since + 3 * DAY,
        interval=Interval.DAY,
        zone="Asia/Shanghai",
    )
    rows = (await answer(ledger, asked)).rows
    assert [(row.start, row.values["accepted"]) for row in rows] == [
        ("2026-09-21T00:00:00+08:00", 1),
        ("2026-09-22T00:00:00+08:00", 1),
        ("2026-09-23T00:00:00+08:00", 0),
    ]
    by = Question(
        measures=("accepted", "open_rate", "delivery_p50_ms"),
        since=MIDNIGHT,
        until=MIDNIGHT + DAY,
        group_by=("campaign", "account"),
        where={"account": ("3",), "sending_domain": ("shop.test",)},
    )
    found = await answer(ledger, by)
    assert [(row.group["campaign"], row.values) for row in found.rows] == [
        ("autumn", {"accepted": 1, "open_rate": None, "delivery_p50_ms": None}),
        ("winter", {"accepted": 1, "open_rate": None, "delivery_p50_ms": None}),
    ]
    assert found.denominators == {"open_rate": "delivered"}


async def test_partial_first_and_last_intervals_count_their_part(ledger: Ledger) -> None:
    """A range that begins in the middle of a day has only that part of the day."""
    await told(ledger, accepted(1, START), accepted(2, START - 6 * 3600 * SECOND))
    since = MIDNIGHT + 12 * HOUR
    asked = Question(
        measures=("accepted", "requested_recipients"),
        since=since,
        until=since + DAY,
        interval=Interval.DAY,
    )
    rows = (await answer(ledger, asked)).rows
    assert [list(row.values.values()) for row in rows] == [[1, 1], [0, 0]]


async def test_groups_in_order_and_cut(ledger: Ledger) -> None:
    """The first so many groups by a measure, over the whole range."""
    await told(
        ledger, *[accepted(n, recipient_domain=f"d{n % 3}.test") for n in (1, 2, 4, 5, 7, 3)]
    )
    asked = Question(
        measures=("accepted", "requested_recipients"),
        since=MIDNIGHT,
        until=MIDNIGHT + DAY,
        group_by=("recipient_domain",),
        order_by="accepted",
        limit=2,
    )
    rows = (await answer(ledger, asked)).rows
    assert [(r.group["recipient_domain"], r.values["accepted"]) for r in rows] == [
        ("d1.test", 3),
        ("d2.test", 2),
    ]
    assert [r.values["requested_recipients"] for r in rows] == [3, 2]
    with pytest.raises(UnanswerableError):
        await answer(ledger, Question(measures=("nix",), since=0, until=DAY))


async def test_recipients_before_and_after_they_are_absorbed(ledger: Ledger) -> None:
    """The same person in two mails counts once, in sightings as in sketches, over any range."""
    events = [accepted(n, recipient=f"ann{n % 4}@inbox.test") for n in range(1, 13)]
    await told(ledger, *events)
    asked = Question(
        measures=("requested", "requested_recipients"), since=MIDNIGHT, until=MIDNIGHT + DAY
    )
    by_domain = replace(asked, group_by=("recipient_domain",))
    waiting = []
    for step in (crowds.absorb_some, crowds.absorb, crowds.absorb):
        for question in (asked, by_domain):
            values = (await answer(ledger, question)).rows[0].values
            assert values == {"requested": 12, "requested_recipients": 4}
        waiting.append(tuple(await ledger.read(crowds.waiting)))
        await ledger.write(step)
    assert waiting == [(4, 4), (0, 4), (0, 0)]


async def test_sealing_keeps_the_largest_and_the_totals(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tail becomes "other"; totals, later corrections and the sum rule hold."""
    monkeypatch.setattr(sealing, "KEPT", 2)
    sizes = {"big.test": 5, "mid.test": 3, "low.test": 2, "tiny.test": 1}
    names = [name for name, size in sizes.items() for _ in range(size)]
    folder = Folder(ledger, BurstRule())
    sent = [accepted(n, recipient_domain=name) for n, name in enumerate(names, 1)]
    sent.append(about(Kind.DELIVERED, len(names), START + SECOND))
    await folder.fold("spool", batches(sent, size=50))
    await ledger.write(crowds.absorb)
    before = MIDNIGHT + DAY
    assert await ledger.write(lambda c: sealing.seal(c, before)) > 0
    assert await ledger.write(lambda c: sealing.seal(c, before)) == 0  # once
    bounce = about(Kind.BOUNCED, len(names), START + 2 * SECOND, returned=True, category="hard")
    await folder.fold("spool", batches([bounce], first=2))
    asked = Question(
        measures=("accepted", "sent", "later_hard", "requested_recipients"),
        since=MIDNIGHT,
        until=MIDNIGHT + DAY,
        group_by=("recipient_domain",),
    )
    rows = (await answer(ledger, asked)).rows
    assert {r.group["recipient_domain"]: list(r.values.values()) for r in rows} == {
        "big.test": [5, 0, 0, 5],
        "mid.test": [3, 0, 0, 3],
        "other": [3, 1, 1, 3],
    }
    assert await check_sums(ledger) == []


async def test_the_sum_rule_finds_what_is_wrong(campaign: Ledger) -> None:
    """The control: a cell, a row and a counter that lie are named."""
    assert await check_sums(campaign) == []
    d, q = tables.deliveries, tables.quarters
    await campaign.write(lambda c: c.execute(q.update().values(delivered=q.c.delivered + 1)))
    await campaign.write(lambda c: c.execute(d.update().where(d.c.id == 1).values(opens=5)))
    await campaign.write(
        lambda c: c.execute(tables.counters.update().values(value=tables.counters.c.value + 1))
    )
    wrong = await check_sums(campaign)
    assert any(line.startswith("quarters") and "delivered is" in line for line in wrong)
    assert any(line.startswith("delivery 1: row and events differ in opens (5") for line in wrong)
    assert any(line.startswith("counter of accepted") for line in wrong)

"""The real judge behind the fold, on both databases: late evidence corrects earlier verdicts and
the cubes follow; hits of a domain that keeps sums only are sums.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from metrics.events import Event, Hit, Kind, encode
from metrics.intervals import DAY
from metrics.questions import Question
from relay.clock import SECOND
from relay.ledger.answers import answer
from relay.ledger.engine import Ledger, open_ledger
from relay.ledger.fold import Folder
from relay.ledger.sums import check_sums
from relay.process.judging import Judge
from relay.spool.protocol import Batch
from tests.harness.facts import DOMAIN_ID, START, about, accepted, known
from tracking.tokens import campaign_hash

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
MIDNIGHT = START // SECOND // DAY * DAY


@dataclass
class Bench:
    """A ledger with the real judge."""

    ledger: Ledger
    folder: Folder
    told: int = 0

    async def tell(self, *events: Event) -> None:
        """Fold events as one batch."""
        self.told += 1
        batch = Batch(self.told, tuple(encode(event) for event in events))
        await self.folder.fold("one", [batch])

    async def count(self, *measures: str, group: str = "") -> dict[str, dict[str, object]]:
        """Ask measures of the day, by one dimension if wanted."""
        question = Question(
            measures=measures,
            since=MIDNIGHT,
            until=MIDNIGHT + DAY,
            group_by=(group,) if group else (),
        )
        rows = (await answer(self.ledger, question)).rows
        return {row.group.get(group, ""): dict(row.values) for row in rows}


@pytest.fixture
async def bench(ledger_url: str) -> AsyncIterator[Bench]:
    """Give an open ledger with a delivered mail."""
    async with open_ledger(ledger_url) as ledger:
        under_test = Bench(ledger, Folder(ledger, Judge()))
        await under_test.tell(
            accepted(1), Event(kind=Kind.DELIVERED, at=START + SECOND, **known(1))
        )
        yield under_test


def _click(link: int, after: float, agent: str = BROWSER, **judged: str) -> Event:
    hit = Hit(
        user_agent=agent,
        address="198.51.100.7",
        link=link,
        url=f"https://shop.test/{link}",
        **judged,
    )
    return about(Kind.CLICKED, 1, START + round(after * SECOND), hit=hit)


MEASURES = ("clicks", "clicks_human", "clicked", "clicked_human")


async def test_the_third_link_makes_the_first_two_a_machines(bench: Bench) -> None:
    """A burst is known by its last hit only; what was counted as people's moves."""
    await bench.tell(_click(1, 60.0), _click(2, 60.4))
    assert await bench.count(*MEASURES) == {
        "": {"clicks": 2, "clicks_human": 2, "clicked": 1, "clicked_human": 1}
    }
    await bench.tell(_click(3, 60.8))
    assert await bench.count(*MEASURES) == {
        "": {"clicks": 3, "clicks_human": 0, "clicked": 1, "clicked_human": 0}
    }
    assert await check_sums(bench.ledger) == []
    # The person whom the scanner protects, later and from elsewhere.
    await bench.tell(_click(2, 4000.0))
    assert (await bench.count(*MEASURES))[""]["clicks_human"] == 1
    assert await check_sums(bench.ledger) == []


@pytest.mark.parametrize(
    ("judged", "burst", "human"),
    [("human", False, 1), ("scanner", False, 0), ("proxy", False, 1), ("human", True, 0)],
)
async def test_what_the_tracking_host_judged_counts_where_no_address_is_kept(
    bench: Bench, judged: str, burst: bool, human: int
) -> None:
    """And the company of other hits still makes a machine of it."""
    links = range(1, 4 if burst else 2)
    hits = [_click(n, 60 + n / 10, "", judged=judged, platform="Linux") for n in links]
    await bench.tell(*hits)
    assert (await bench.count("clicks_human"))[""]["clicks_human"] == human
    platforms = await bench.count("clicks", group="platform")
    assert platforms == {"Linux": {"clicks": len(hits)}}


async def test_sums_only_count_in_their_campaign_and_leave_no_event(bench: Bench) -> None:
    """A hit without a delivery carries the token's ids; nothing else of it is kept."""
    mail = known(2, campaign="spring", campaign_hash=0, account=3)
    await bench.tell(Event(kind=Kind.ACCEPTED, at=START, **mail))
    hit = Hit(link=1, url="https://shop.test/1", judged="human", platform="iOS")
    await bench.tell(
        Event(
            kind=Kind.CLICKED,
            at=START + 60 * SECOND,
            account=3,
            sending_domain_id=DOMAIN_ID,
            campaign_hash=campaign_hash(3, "spring"),
            hit=hit,
        )
    )
    by_campaign = await bench.count("clicks", "clicks_human", "clicked", group="campaign")
    assert by_campaign["spring"] == {"clicks": 1, "clicks_human": 1, "clicked": 0}
    kept = await bench.ledger.read(
        lambda connection: connection.exec_driver_sql(
            f"SELECT count(*) FROM events WHERE kind = {_CLICKED}"  # noqa: S608 - a number
        ).scalar_one()
    )
    assert kept == 0
    assert await check_sums(bench.ledger) == []


_CLICKED = list(Kind).index(Kind.CLICKED) + 1

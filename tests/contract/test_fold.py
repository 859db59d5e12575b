"""What the fold promises, on both databases."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace

from metrics.events import Event, Kind, encode
from metrics.intervals import DAY
from metrics.questions import Question
from relay.clock import SECOND
from relay.errors import StorageError
from relay.ids import lowest_at
from relay.ledger import tables
from relay.ledger.answers import AnswerRow, answer
from relay.ledger.engine import Ledger, open_ledger
from relay.ledger.erasure import erase_recipient
from relay.ledger.facts_total import facts_total
from relay.ledger.fold import Folded, Folder
from relay.ledger.reclassify import reclassify
from relay.ledger.sums import check_sums
from relay.ledger.upkeep import Retention, Upkeep
from relay.spool.protocol import Batch
from tests.harness.facts import (
    ACCOUNT,
    START,
    BurstRule,
    about,
    accepted,
    batches,
    hit,
    life,
    picture,
)
from tracking.tokens import campaign_hash

MIDNIGHT = START // SECOND // DAY * DAY


@dataclass
class Bench:
    """A ledger with its folder; `tell` sends facts from one spool after another."""

    ledger: Ledger
    folder: Folder
    seqs: dict[str, int]

    async def tell(self, *events: Event, spool: str = "one") -> None:
        """Fold events as one batch."""
        self.seqs[spool] = self.seqs.get(spool, 0) + 1
        batch = Batch(self.seqs[spool], tuple(encode(event) for event in events))
        assert await self.folder.fold(spool, [batch]) == self.seqs[spool]

    async def count(self, *measures: str, day: int = 0, **asked: object) -> dict[str, object]:
        """Ask measures of one day (by default the day of START)."""
        since = MIDNIGHT + day * DAY
        question = Question(measures=measures, since=since, until=since + DAY)
        return (await answer(self.ledger, question)).rows[0].values | asked

    async def by(self, group: str, *measures: str, days: int = 1) -> dict[str, dict[str, object]]:
        """Ask measures by one dimension."""
        question = Question(
            measures=measures, since=MIDNIGHT, until=MIDNIGHT + days * DAY, group_by=(group,)
        )
        rows: tuple[AnswerRow, ...] = (await answer(self.ledger, question)).rows
        return {row.group[group]: dict(row.values) for row in rows}


@pytest.fixture
async def bench(ledger_url: str) -> AsyncIterator[Bench]:
    """An empty ledger; whatever a test did, the sum rule holds at its end."""
    async with open_ledger(ledger_url) as ledger:
        yield Bench(ledger, Folder(ledger, BurstRule()), {})
        assert await check_sums(ledger) == []


async def test_a_batch_sent_again_changes_nothing(bench: Bench) -> None:
    """The mark makes a repeated batch, alone or with a new one, count once."""
    one, two, three = batches([accepted(1), accepted(2), accepted(3)], size=1)
    assert await bench.folder.fold("s", [one, two]) == 2
    assert await bench.folder.fold("s", [one, two]) == 2
    assert await bench.folder.fold("s", [two, three]) == 3
    assert await bench.folder.mark("s") == 3
    assert await bench.folder.mark("another") == 0
    assert await bench.count("accepted") == {"accepted": 3}


async def test_a_hit_before_its_acceptance_is_parked(bench: Bench) -> None:
    """Nothing is counted until the acceptance tells where; then everything is."""
    await bench.tell(hit(Kind.OPENED, 7, START + 60 * SECOND), spool="two")
    await bench.tell(about(Kind.DELIVERED, 7, START + 2 * SECOND, took_ms=900))
    assert await bench.count("opens", "delivered") == {"opens": 0, "delivered": 0}
    await bench.tell(accepted(7))
    assert await bench.count("opens", "opened_human", "delivered", "sent") == {
        "opens": 1,
        "opened_human": 1,
        "delivered": 1,
        "sent": 1,
    }


async def test_a_bounce_by_mail_corrects_the_delivery(bench: Bench) -> None:
    """Delivered goes down and bounced up, in the interval of the delivery; sent stays."""
    await bench.tell(accepted(1), about(Kind.DELIVERED, 1, START + SECOND, took_ms=1000))
    assert await bench.count("sent", "delivered", "bounces") == {
        "sent": 1,
        "delivered": 1,
        "bounces": 0,
    }
    late = about(
        Kind.BOUNCED, 1, START + 3 * DAY * SECOND, returned=True, category="hard", reason="unknown"
    )
    await bench.tell(late, spool="inbound")
    assert await bench.count("sent", "delivered", "bounces", "later_hard", "delivery_rate") == {
        "sent": 1,
        "delivered": 0,
        "bounces": 1,
        "later_hard": 1,
        "delivery_rate": 0.0,
    }
    assert await bench.by("bounce_reason", "later_hard") == {"unknown": {"later_hard": 1}}


async def test_a_delay_notice_corrects_nothing(bench: Bench) -> None:
    """An ignored report is counted where it arrived and leaves the delivery alone."""
    await bench.tell(accepted(1), about(Kind.DELIVERED, 1, START + SECOND))
    notice = about(Kind.BOUNCED, 1, START + 60 * SECOND, returned=True, category="ignored")
    await bench.tell(notice)
    assert await bench.count("delivered", "bounces", "later_ignored") == {
        "delivered": 1,
        "bounces": 0,
        "later_ignored": 1,
    }


async def test_late_evidence_moves_human_counts(bench: Bench) -> None:
    """A second click within two seconds makes a machine of the first; totals stay."""
    await bench.tell(accepted(1), about(Kind.DELIVERED, 1, START + SECOND))
    await bench.tell(hit(Kind.CLICKED, 1, START + 60 * SECOND, link=1))
    asked = ("clicks", "clicks_human", "clicked", "clicked_human", "clicking_recipients_human")
    assert list((await bench.count(*asked)).values()) == [1, 1, 1, 1, 1]
    await bench.tell(hit(Kind.CLICKED, 1, START + 61 * SECOND, link=2), spool="two")
    await Upkeep(bench.ledger, Retention()).tidy()
    assert list((await bench.count(*asked)).values()) == [2, 0, 1, 0, 0]
    assert (await facts_total(bench.ledger)).reclassified == {"human to scanner": 1}
    assert await bench.by("nature", "clicks") == {"human": {"clicks": 0}, "scanner": {"clicks": 2}}


async def test_new_rules_are_applied_to_old_hits(bench: Bench) -> None:
    """Reclassification without a new fact moves the same counts."""
    folder = Folder(bench.ledger)  # nobody is known to be human
    events = [accepted(1), about(Kind.DELIVERED, 1, START + SECOND)]
    await folder.fold("x", batches([*events, hit(Kind.OPENED, 1, START + 60 * SECOND)]))
    assert await bench.count("opens", "opened_human") == {"opens": 1, "opened_human": 0}
    assert await reclassify(bench.ledger, BurstRule()) == 1
    assert await bench.count("opens", "opened_human") == {"opens": 1, "opened_human": 1}


async def test_what_cannot_be_read_is_set_aside(bench: Bench) -> None:
    """A broken fact stops nobody: its batch is folded, it is kept and counted."""
    good = encode(accepted(1))
    assert await bench.folder.fold("s", [Batch(1, (b"\xc1nonsense", good, b""))]) == 1
    assert await bench.count("accepted") == {"accepted": 1}
    assert (await facts_total(bench.ledger)).shunted == 2


async def test_hostile_text_is_cut_and_cleaned(bench: Bench) -> None:
    """NUL, line ends in tags and endless texts reach neither database; nothing is an endless
    key."""
    rng = random.Random(3)  # noqa: S311 - text that does not compress, in three octets each
    endless = "".join(chr(rng.randrange(0x4E00, 0x9FFF)) for _ in range(5000))
    names = ("campaign", "template", "sending_domain", "recipient_domain", "provider", "subject")
    hostile: dict[str, Any] = dict.fromkeys((*names, "message_id", "recipient", "sender"), endless)
    await bench.tell(accepted(1, **hostile), accepted(2, subject="a\0b", tags=("x\ny", "", "x y")))
    link = hit(Kind.CLICKED, 1, START + 60 * SECOND, link=1)
    assert link.hit is not None
    for end in "ab":
        url = f"https://shop.test/{endless}{end}"
        await bench.tell(replace(link, hit=replace(link.hit, url=url)))
    bounce = about(Kind.BOUNCED, 2, START + SECOND, category=endless, reason=endless)
    await bench.tell(bounce)
    assert set(await bench.by("campaign", "accepted")) == {endless[:255], "autumn"}
    assert await bench.by("tag", "accepted") == {
        "x y": {"accepted": 1},
        "red": {"accepted": 1},
        "blue": {"accepted": 1},
    }
    assert len(await bench.by("link", "clicks")) == 2  # they begin alike and stay apart


@pytest.mark.parametrize(
    "wrong",
    [
        {"took_ms": 2**63},
        {"size": 2**64 - 1},
        {"delivery": 2**63},
        {"account": -1},
        {"at": 0},
        {"at": 2**62},
        {"campaign_hash": -1},
    ],
)
async def test_numbers_no_database_holds_are_set_aside(bench: Bench, wrong: dict[str, int]) -> None:
    """A number out of range stops nobody either."""
    await bench.tell(replace(accepted(1), **wrong), accepted(2, campaign_hash=2**64 - 1))
    assert await bench.count("accepted") == {"accepted": 1}
    assert (await facts_total(bench.ledger)).shunted == 1


async def test_a_machine_that_hits_without_end_costs_no_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above a number of hits a delivery's new ones are judged alone; totals stay exact."""
    monkeypatch.setattr("relay.ledger.fold.HITS_TOGETHER", 3)
    monkeypatch.setattr("relay.ledger.delivery_fold.HITS_TOGETHER", 3)
    await bench.tell(accepted(1), about(Kind.DELIVERED, 1, START + SECOND))
    for number in range(12):
        await bench.tell(hit(Kind.OPENED, 1, START + 60 * SECOND + number))
    assert await bench.count("opens", "opened", "opened_human") == {
        "opens": 12,
        "opened": 1,
        "opened_human": 1,
    }


async def test_refusals_and_facts_without_a_delivery(bench: Bench) -> None:
    """A refusal counts as a message of its own; a report nobody can be linked to is only kept."""
    refused = accepted(0, reason="sender not allowed", sending_domain="")
    await bench.tell(replace(refused, kind=Kind.REJECTED))
    await bench.tell(about(Kind.BOUNCED, 0, START, returned=True, category="hard"))
    assert await bench.count("requested", "rejected", "accepted", "bounces") == {
        "requested": 1,
        "rejected": 1,
        "accepted": 0,
        "bounces": 0,
    }
    assert await bench.by("rejection_reason", "rejected") == {"sender not allowed": {"rejected": 1}}


async def test_a_sum_only_hit_finds_its_campaign_also_before_its_first_mail(bench: Bench) -> None:
    """Another worker's facts may be slower: the click counts where it belongs once they come."""
    named = campaign_hash(ACCOUNT, "autumn")
    click = hit(Kind.CLICKED, 0, START + 60 * SECOND, link=1)
    click = replace(click, sending_domain="shop.test", campaign_hash=named)
    await bench.tell(click, spool="two")
    assert set(await bench.by("campaign", "clicks")) == {f"#{named:016x}"}
    for template in ("plain", ""):
        number = len(template) + 1
        await bench.tell(accepted(number, campaign_hash=named, template=template))
    assert await bench.by("campaign", "clicks", "accepted") == {
        "autumn": {"clicks": 1, "accepted": 2}
    }
    assert set(await bench.by("sending_domain", "clicks")) == {"shop.test"}
    await bench.tell(click, spool="two")
    assert await bench.by("campaign", "clicks") == {"autumn": {"clicks": 2}}


async def test_a_campaign_counted_under_its_hash_and_its_name_goes_on(bench: Bench) -> None:
    """An older ledger may hold both: what was counted stays, and later hits find the name."""
    named = campaign_hash(ACCOUNT, "autumn")
    click = replace(
        hit(Kind.CLICKED, 0, START + 60 * SECOND, link=1),
        sending_domain="shop.test",
        campaign_hash=named,
    )
    await bench.tell(accepted(1, campaign_hash=0, template=""))
    await bench.ledger.write(
        lambda connection: connection.execute(tables.mailings.update().values(campaign_hash=0))
    )
    bench = Bench(bench.ledger, Folder(bench.ledger, BurstRule()), bench.seqs)  # as after a restart
    await bench.tell(click, spool="two")
    assert set(await bench.by("campaign", "clicks")) == {"autumn", f"#{named:016x}"}
    await bench.tell(accepted(2, campaign_hash=named, template="plain"))
    await bench.tell(click, spool="two")
    assert await bench.by("campaign", "clicks", "accepted") == {
        "autumn": {"clicks": 1, "accepted": 2},
        f"#{named:016x}": {"clicks": 1, "accepted": 0},
    }


async def test_counters_are_first_facts(bench: Bench) -> None:
    """They count events by result and registered sending domain, and do not fall."""
    await bench.tell(accepted(1), about(Kind.DELIVERED, 1, START + SECOND, took_ms=1500))
    await bench.tell(accepted(2, sending_domain="stranger.test", sending_domain_id=0))
    bounce = about(Kind.BOUNCED, 1, START + 9 * SECOND, returned=True, category="soft")
    await bench.tell(bounce)
    total = await facts_total(bench.ledger)
    assert total.events == {
        ("shop.test", "accepted"): 1,
        ("shop.test", "delivered"): 1,
        ("shop.test", "later_soft"): 1,
        ("other", "accepted"): 1,
    }
    assert sum(total.durations.values()) == 1


async def test_listeners_hear_what_changed(bench: Bench) -> None:
    """After the commit, once per fold that had something new."""
    heard: list[Folded] = []
    bench.folder.listeners.append(heard.append)
    await bench.tell(accepted(1), about(Kind.DELIVERED, 1, START + SECOND, took_ms=40))
    await bench.folder.fold("one", [])
    assert [(h.spool, h.mark, h.events, h.took_ms) for h in heard] == [("one", 1, 2, (40,))]
    assert len(heard[0].mailings) == 1


async def test_a_listener_that_fails_is_not_a_fold_that_failed(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """It is committed: its mark is given, and the other listeners hear of it."""
    heard: list[Folded] = []

    def fail(_folded: Folded) -> None:
        raise ValueError("a bug of the listener")

    bench.folder.listeners += [fail, heard.append]
    await bench.tell(accepted(1))
    assert [folded.mark for folded in heard] == [1]
    assert "a bug of the listener" in caplog.text
    assert await bench.count("accepted") == {"accepted": 1}


async def test_pruning_keeps_rollups_and_the_sum_rule(bench: Bench) -> None:
    """Old rows go, cells stay; a hit on a pruned delivery counts from its token alone."""
    old, new = lowest_at(START) + 5, lowest_at(START + 40 * DAY * SECOND) + 5
    later = START + 40 * DAY * SECOND
    await bench.tell(
        accepted(old),
        about(Kind.DELIVERED, old, START + SECOND),
        hit(Kind.OPENED, old, later),  # an old delivery counts in a new cell
        accepted(new, later),
        about(Kind.DELIVERED, new, later + SECOND),
    )
    upkeep = Upkeep(
        bench.ledger, Retention(events=30), BurstRule(), clock=lambda: later + 3600 * SECOND
    )
    assert await upkeep.prune() == 1
    assert await check_sums(bench.ledger) == []
    assert await bench.count("accepted", "delivered") == {"accepted": 1, "delivered": 1}
    await bench.tell(hit(Kind.CLICKED, old, later + 60 * SECOND, link=1))
    assert await bench.count("opens", "clicks", "clicks_human", "clicked", day=40) == {
        "opens": 1,
        "clicks": 1,
        "clicks_human": 1,
        "clicked": 0,
    }
    assert set(await bench.by("campaign", "clicks", days=41)) == {"autumn"}
    assert await upkeep.prune() == 0


async def test_a_delivery_that_outlives_its_retention_in_the_queue_stays(bench: Bench) -> None:
    """What has not ended is not pruned; its outcome finds its row."""
    waiting = lowest_at(START)
    await bench.tell(accepted(waiting))
    later = START + 60 * DAY * SECOND
    upkeep = Upkeep(bench.ledger, Retention(events=30), clock=lambda: later)
    assert await upkeep.prune() == 0
    await bench.tell(about(Kind.DELIVERED, waiting, later))
    assert await bench.count("delivered", day=60) == {"delivered": 1}


async def test_erasing_a_recipient_leaves_the_numbers(bench: Bench) -> None:
    """No table holds the address afterwards; every count is what it was."""
    events = [accepted(n, recipient="Ann@inbox.test") for n in (1, 2)]
    talk = about(Kind.DELIVERED, 1, START + SECOND, transcript="RCPT TO:<ann@inbox.test>")
    await bench.tell(*events, accepted(3, recipient="bob@inbox.test"), talk)
    before = await bench.count("accepted", "requested_recipients")
    assert await erase_recipient(bench.ledger, "ann@INBOX.test") == 2
    assert await erase_recipient(bench.ledger, "ann@inbox.test") == 0
    assert await bench.count("accepted", "requested_recipients") == before
    shown = str(await picture(bench.ledger)).lower()
    assert "ann@" not in shown
    assert "bob@" in shown


async def test_two_nodes_fold_the_same_deliveries_at_once(bench: Bench) -> None:
    """Two folders of one ledger, in parallel: nothing is lost between reading and writing."""
    rng = random.Random(4)  # noqa: S311 - a repeatable life
    own: list[Event] = []
    others: list[Event] = []
    for number in range(1, 40):
        mine, *rest = life(rng, number, START)
        own += mine
        others += [event for facts in rest for event in facts]

    async def send(folder: Folder, spool: str, events: list[Event]) -> None:
        for batch in batches(events, size=7):
            await folder.fold(spool, [batch])

    second = Folder(bench.ledger, BurstRule())
    await asyncio.gather(send(bench.folder, "a", own), send(second, "b", others))
    assert await check_sums(bench.ledger) == []


async def test_a_fold_that_failed_leaves_no_trace(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is stored or remembered: the mailing it made is made again by the next."""

    def fail(*_: object) -> None:
        raise StorageError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr("relay.ledger.fold.post", fail)
        with pytest.raises(StorageError):
            await bench.folder.fold("s", batches([accepted(1, campaign="lost")]))
    assert await bench.folder.mark("s") == 0
    await bench.folder.fold("t", batches([accepted(2, campaign="other")]))
    await bench.folder.fold("s", batches([accepted(1, campaign="lost")]))
    assert await bench.by("campaign", "accepted") == {
        "lost": {"accepted": 1},
        "other": {"accepted": 1},
    }

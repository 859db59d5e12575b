"""Soft bounces over days, and the brakes, on a real ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from metrics.events import Event, Kind, encode
from relay.clock import DAY, SECOND
from relay.config import Brakes as Thresholds
from relay.control.brakes import Brakes, Level
from relay.control.operations.soft_bounces import SoftBounces
from relay.control.operations.suppression_facts import SuppressionFacts
from relay.control.operations.suppression_rows import SuppressionKeys
from relay.errors import StorageError
from relay.ledger.fold import Folder
from relay.mail.keyring import KeyRing
from relay.spool.protocol import Batch
from tests.harness.admin import AdminUnderTest, admin_under_test

START = 1_790_000_000 * SECOND


@dataclass
class Desk:
    """Control with a clock of its own; `tell` sends facts as workers do."""

    admin: AdminUnderTest
    moment: list[int]
    account: int
    soft: SuppressionFacts
    folder: Folder
    told: int = 0
    deliveries: int = 0
    ids: list[int] = field(default_factory=list)

    def clock(self) -> int:
        return self.moment[0]

    async def tell(self, *events: Event) -> None:
        self.told += 1
        batch = [Batch(self.told, tuple(encode(event) for event in events))]
        await self.soft.take(batch)
        await self.folder.fold("one", batch)
        await self.soft.settle()

    async def mail(self, recipient: str, kind: Kind, *, campaign: str = "", **more: Any) -> None:
        """Tell of one delivery and how it ended."""
        self.deliveries += 1
        known: dict[str, Any] = {
            "at": self.moment[0],
            "delivery": self.deliveries,
            "account": self.account,
            "sending_domain": "shop.test",
            "recipient": recipient,
            "recipient_domain": "inbox.test",
            "campaign": campaign,
        }
        accepted = Event(kind=Kind.ACCEPTED, **known)
        await self.tell(accepted, Event(kind=kind, **known, **more))

    async def soft_bounce(self, recipient: str) -> None:
        await self.mail(recipient, Kind.BOUNCED, category="soft", reason="mailboxfull")

    async def suppressed(self, recipient: str) -> list[str]:
        found = await self.admin.ask("GET", f"/suppressions?recipient={recipient}")
        return [entry["reason"] for entry in found.json["items"]]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    moment = [START]
    async with admin_under_test(tmp_path, clock=lambda: moment[0]) as admin:
        account = await admin.account("Shop")
        await admin.domain("shop.test", account)
        keys = SuppressionKeys(KeyRing.load(tmp_path / "keyring.json"))
        counting = SoftBounces(keys, count=3, days=7)
        soft = SuppressionFacts(admin.services.changes, keys, counting)
        yield Desk(admin, moment, account, soft, Folder(admin.ledger))


async def test_soft_bounces_count_by_day(desk: Desk) -> None:
    for _ in range(5):  # five on one day are one
        await desk.soft_bounce("ann@inbox.test")
    desk.moment[0] += DAY
    await desk.soft_bounce("ann@inbox.test")
    assert await desk.suppressed("ann@inbox.test") == []
    desk.moment[0] += DAY
    await desk.soft_bounce("Ann@inbox.test")
    assert await desk.suppressed("ann@inbox.test") == ["soft-bounces"]
    assert await desk.suppressed("bob@inbox.test") == []


async def test_a_delivery_in_between_begins_anew(desk: Desk) -> None:
    for end in ("soft", "soft", "delivered", "soft", "soft"):
        if end == "soft":
            await desk.soft_bounce("ann@inbox.test")
        else:
            await desk.mail("ann@inbox.test", Kind.DELIVERED)
        desk.moment[0] += DAY
    assert await desk.suppressed("ann@inbox.test") == []
    await desk.soft_bounce("ann@inbox.test")
    assert await desk.suppressed("ann@inbox.test") == ["soft-bounces"]


async def test_what_is_older_than_the_window_does_not_count(desk: Desk) -> None:
    for _ in range(4):
        await desk.soft_bounce("ann@inbox.test")
        desk.moment[0] += 4 * DAY
    assert await desk.suppressed("ann@inbox.test") == []


async def test_what_a_failing_ledger_could_not_count_is_counted_the_next_time(desk: Desk) -> None:
    for _ in range(2):
        await desk.soft_bounce("ann@inbox.test")
        desk.moment[0] += DAY
    refuse = (
        "CREATE TRIGGER refuse BEFORE INSERT ON suppressions BEGIN SELECT RAISE(FAIL, 'no'); END"
    )
    await desk.admin.ledger.write(lambda ledger: ledger.exec_driver_sql(refuse))
    with pytest.raises(StorageError):
        await desk.soft_bounce("ann@inbox.test")  # folded, and not settled
    assert await desk.suppressed("ann@inbox.test") == []
    with pytest.raises(StorageError):
        await desk.soft.settle()  # it does not give up
    await desk.admin.ledger.write(lambda ledger: ledger.exec_driver_sql("DROP TRIGGER refuse"))
    await desk.soft.settle()
    assert await desk.suppressed("ann@inbox.test") == ["soft-bounces"]


def _thresholds(**more: Any) -> Thresholds:
    return Thresholds(min_messages=20, bounce_warn=0.05, bounce_stop=0.2, **more)


def _levels(brakes: Brakes) -> dict[str, Level]:
    return {one.rate.kind: one.level for one in brakes.standings}


async def _pauses(desk: Desk) -> list[tuple[str, str]]:
    listed = (await desk.admin.ask("GET", "/pauses")).json["items"]
    return [(entry["kind"], entry["value"]) for entry in listed]


async def _mails(desk: Desk, good: int, bad: int, campaign: str = "") -> None:
    for number in range(good):
        await desk.mail(f"g{number}@inbox.test", Kind.DELIVERED, campaign=campaign)
    for number in range(bad):
        await desk.mail(
            f"b{number}@inbox.test", Kind.BOUNCED, campaign=campaign, category="hard", reason="x"
        )


async def test_brakes_warn_stop_and_pause_once(desk: Desk) -> None:
    watched = Brakes(desk.admin.services.changes, _thresholds(pause="domain"), desk.clock)
    desk.admin.services.brakes.standings = lambda: watched.standings
    await _mails(desk, 17, 1)
    await watched.look()
    assert _levels(watched) == {}  # too few to say anything
    await _mails(desk, 3, 1)
    await watched.look()
    assert _levels(watched) == {"complaint": Level.GOOD, "bounce": Level.WARNED}
    assert await _pauses(desk) == []
    await _mails(desk, 0, 6)
    await watched.look()
    assert _levels(watched)["bounce"] is Level.STOPPED
    assert await _pauses(desk) == [("domain", "shop.test")]
    shown = (await desk.admin.ask("GET", "/brakes")).json["items"]
    assert [(e["kind"], e["level"]) for e in shown] == [
        ("bounce", "stopped"),
        ("complaint", "good"),
    ]
    # A pause that a person lifts stays lifted, also for a control that was started anew.
    (pause,) = (await desk.admin.ask("GET", "/pauses")).json["items"]
    await desk.admin.ask("DELETE", f"/pauses/{pause['id']}")
    again = Brakes(desk.admin.services.changes, _thresholds(pause="domain"), desk.clock)
    await again.look()
    assert await _pauses(desk) == []
    actions = {e["action"] for e in (await desk.admin.ask("GET", "/audit")).json["items"]}
    assert {"brake.warned", "brake.stopped", "brake.pause"} <= actions


@pytest.mark.parametrize(
    ("pause", "expected"), [("off", []), ("campaign", [("campaign", "spring")])]
)
async def test_the_guilty_campaign_alone_is_paused(
    desk: Desk, pause: str, expected: list[tuple[str, str]]
) -> None:
    await _mails(desk, 30, 0, "summer")
    await _mails(desk, 5, 20, "spring")
    thresholds = _thresholds(pause=pause)
    await Brakes(desk.admin.services.changes, thresholds, desk.clock).look()
    assert await _pauses(desk) == expected


async def test_complaints_count_per_delivered_message(desk: Desk) -> None:
    await _mails(desk, 25, 0)
    await desk.tell(Event(kind=Kind.COMPLAINED, at=desk.moment[0], delivery=3))
    watched = Brakes(desk.admin.services.changes, _thresholds(), desk.clock)
    await watched.look()
    (complaints,) = [one for one in watched.standings if one.rate.kind == "complaint"]
    assert (complaints.rate.bad, complaints.rate.of) == (1, 25)
    assert complaints.level is Level.STOPPED
    desk.moment[0] += 2 * DAY  # the window moves on
    await watched.look()
    assert watched.standings == ()

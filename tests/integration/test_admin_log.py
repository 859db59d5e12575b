"""The message log, stories, audiences, erasure and the check of sums over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from metrics.events import Hit, Kind
from relay.clock import SECOND
from relay.ids import to_text
from tests.harness.admin import AdminUnderTest, Facts, admin_under_test

START = 1_800_000_000 * SECOND


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[AdminUnderTest]:
    """Give an admin listener with one account and its domain."""
    async with admin_under_test(tmp_path, clock=lambda: START) as made:
        await made.domain("shop.test", await made.account("Shop"))
        yield made


async def _told(admin: AdminUnderTest) -> str:
    """Let a delivery be accepted, put off, delivered and opened; give its id."""
    facts = Facts(admin, [START])
    reply = {"code": 451, "enhanced": "4.7.1", "reply": "451 4.7.1 later, =cmd", "attempt": 1}
    await facts.send(
        facts.accepted(),
        facts.event(Kind.DEFERRED, **reply),
        facts.event(Kind.DELIVERED, code=250, attempt=2, transcript="MAIL FROM:<> 250"),
        facts.event(Kind.OPENED, hit=Hit(user_agent="Agent <b>", address="192.0.2.9")),
    )
    return to_text(facts.delivery)


async def test_a_story_tells_everything_in_order(admin: AdminUnderTest) -> None:
    """Its events, the remote's words, the hit, the conversation."""
    id_ = await _told(admin)
    told = (await admin.ask("GET", f"/deliveries/{id_}")).json
    assert {event["kind"] for event in told["events"]} == {
        "accepted",
        "deferred",
        "delivered",
        "opened",
    }
    put_off = next(event for event in told["events"] if event["kind"] == "deferred")
    assert (put_off["code"], put_off["reply"]) == (451, "451 4.7.1 later, =cmd")
    opened = next(event for event in told["events"] if event["kind"] == "opened")
    assert opened["user_agent"] == "Agent <b>"
    assert told["transcript"] == "MAIL FROM:<> 250"
    assert told["delivery"]["state"] == "delivered"
    for nonsense in ("x", "a" * 13, to_text(1), "AAAAAAAAAAAAB"):
        assert (await admin.ask("GET", f"/deliveries/{nonsense}")).status == 404


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("recipient=ann@inbox.test", True),
        ("recipient=ANN@inbox.test", True),
        ("recipient=bob@inbox.test", False),
        ("campaign=spring", True),
        ("campaign=summer", False),
        ("sending_domain=shop.test", True),
        ("state=opened", True),
        ("state=bounced", False),
        ("account=1", True),
        ("account=2", False),
    ],
)
async def test_search_in_the_log(admin: AdminUnderTest, query: str, found: bool) -> None:
    """By what people know of a mail."""
    id_ = await _told(admin)
    items = (await admin.ask("GET", f"/deliveries?{query}")).json["items"]
    assert [entry["id"] for entry in items] == ([id_] if found else [])


async def test_the_log_pages_by_key(admin: AdminUnderTest) -> None:
    """Newest first, each once."""
    ids = []
    for number in range(5):
        facts = Facts(admin, [START + number * SECOND], spool=f"spool-{number}")
        await facts.send(facts.accepted())
        ids.append(to_text(facts.delivery))
    seen: list[str] = []
    cursor = ""
    for _ in range(3):
        answer = (await admin.ask("GET", f"/deliveries?limit=2&cursor={cursor}")).json
        seen += [entry["id"] for entry in answer["items"]]
        cursor = answer["next"]
    assert seen == ids[::-1]
    assert cursor == ""


@pytest.mark.parametrize("query", ["message=x", "state=lost", "recipient=" + "a" * 400])
async def test_what_cannot_be_searched_for(admin: AdminUnderTest, query: str) -> None:
    """422 with the field."""
    assert (await admin.ask("GET", f"/deliveries?{query}")).status == 422


async def test_an_audience_as_list_and_as_csv(admin: AdminUnderTest) -> None:
    """The same members; without an account or a group there is no question."""
    id_ = await _told(admin)
    asked = "account=1&campaign=spring&group=delivered"
    items = (await admin.ask("GET", f"/audience?{asked}")).json["items"]
    assert [entry["delivery"] for entry in items] == [id_]
    exported = await admin.ask("GET", f"/audience.csv?{asked}")
    assert exported.text.startswith("\ufeffrecipient,delivery,")
    assert id_ in exported.text
    nobody = (await admin.ask("GET", "/audience?account=1&campaign=spring&group=bounced")).json
    assert nobody["items"] == []
    assert (await admin.ask("GET", "/audience?campaign=spring&group=delivered")).status == 404
    assert (await admin.ask("GET", "/audience?account=1&campaign=spring")).status == 422


async def test_statistics_count_what_was_told(admin: AdminUnderTest) -> None:
    """JSON and CSV agree, whole and by domain; the sums hold."""
    await _told(admin)
    asked = "measures=accepted,delivered,opens&since=2027-01-15&until=2027-01-16&interval=total"
    answer = (await admin.ask("GET", f"/stats?{asked}&group_by=campaign")).json
    assert answer["rows"][0]["group"] == {"campaign": "spring"}
    assert answer["rows"][0]["values"] == {"accepted": 1, "delivered": 1, "opens": 1}
    own = (await admin.ask("GET", f"/domains/shop.test/stats?{asked}")).json
    assert own["rows"][0]["values"] == answer["rows"][0]["values"]
    exported = await admin.ask("GET", f"/stats.csv?{asked}&group_by=campaign")
    start = answer["rows"][0]["start"]
    assert exported.text.splitlines() == [
        "\ufeffstart,campaign,accepted,delivered,opens",
        f"{start},spring,1,1,1",
    ]
    assert (await admin.ask("GET", "/sums")).json == {"hold": True, "differences": []}


async def test_an_erased_recipient_is_nowhere(admin: AdminUnderTest) -> None:
    """Not in the log, not in a list, not in the audit; suppressed all the same."""
    await admin.ask("POST", "/suppressions", {"account": 1, "recipient": "Ann@Inbox.test"})
    id_ = await _told(admin)
    answer = (await admin.ask("POST", "/erasures", {"recipient": "ann@inbox.test"})).json
    assert answer == {"deliveries": 1, "suppressions": 1}
    for path in (
        f"/deliveries/{id_}",
        "/deliveries",
        "/suppressions",
        "/suppressions/export",
        "/audit",
        "/audience.csv?account=1&campaign=spring&group=delivered",
    ):
        assert "ann@inbox" not in (await admin.ask("GET", path)).text.lower(), path
    again = await admin.ask("POST", "/suppressions", {"account": 1, "recipient": "ann@inbox.test"})
    assert again.status == 409
    audited = (await admin.ask("GET", "/audit?recipient=ann@inbox.test")).json["items"]
    assert [row["action"] for row in audited] == ["recipient.erase", "suppression.add"]
    assert await admin.feed.write() == 1

"""Suppressions over HTTP and from facts, down to what a worker reads: notices and the table."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from metrics.events import Kind
from relay.clock import DAY, SECOND
from relay.control.suppression_feed import expire
from relay.ids import to_text
from relay.mail.keyring import KeyRing
from relay.notices import Notice, NoticeBoard
from relay.spool.protocol import Batch
from relay.suppressions import RecipientHash, Suppressions, entry_in_account
from tests.harness.admin import AdminUnderTest, Facts, admin_under_test
from tracking.tokens import campaign_hash

START = 1_800_000_000 * SECOND


@pytest.fixture
def moment() -> list[int]:
    """Give the time that the admin under test goes by, in microseconds."""
    return [START]


@pytest.fixture
async def admin(tmp_path: Path, moment: list[int]) -> AsyncIterator[AdminUnderTest]:
    """Give an admin listener with one account."""
    async with admin_under_test(tmp_path, clock=lambda: moment[0]) as made:
        await made.account("Shop")
        yield made


class Worker:
    """What a worker on this node sees: it follows the notices, and maps the table when told to."""

    def __init__(self, folder: Path) -> None:
        """Start as a worker does."""
        self._board = NoticeBoard(folder / "notices", "worker-0")
        self._held = Suppressions(folder / "suppressions.table")
        self._hash = RecipientHash(KeyRing.load(folder / "keyring.json"))

    def reason(self, recipient: str, *, domain: str = "shop.test", campaign: str = "") -> str:
        """Say why account 1 may not send to this recipient."""
        for notice in self._board.follow():
            self._held.note(notice.entry, notice.reason, notice.at)
        number = campaign_hash(1, campaign)
        return self._held.reason(1, domain, number, self._hash.of(recipient))

    def reload(self) -> None:
        """Map the table anew."""
        self._held.reload()


async def _add(admin: AdminUnderTest, recipient: str, **more: Any) -> dict[str, Any]:
    made = await admin.ask("POST", "/suppressions", {"account": 1, "recipient": recipient, **more})
    assert made.status == 201, made.text
    entry: dict[str, Any] = made.json
    return entry


async def test_an_entry_is_in_force_when_the_answer_comes(admin: AdminUnderTest) -> None:
    """In its scope and no other; removed, it is out of force as fast."""
    worker = Worker(admin.folder)
    await _add(admin, "Ann@Inbox.test")
    await _add(admin, "bob@inbox.test", scope="domain", within="shop.test")
    one = await _add(admin, "cat@inbox.test", scope="campaign", within="spring")
    assert worker.reason("ann@inbox.test", domain="other.test") == "manual"
    assert worker.reason("bob@inbox.test") == "manual"
    assert worker.reason("bob@inbox.test", domain="other.test") == ""
    assert worker.reason("cat@inbox.test", campaign="spring") == "manual"
    assert worker.reason("cat@inbox.test", campaign="summer") == ""
    assert (await admin.ask("DELETE", f"/suppressions/{one['id']}")).status == 204
    assert worker.reason("cat@inbox.test", campaign="spring") == ""


async def test_a_new_worker_learns_all_from_the_files(admin: AdminUnderTest) -> None:
    """From the table alone, from the notices alone, and from both."""
    await _add(admin, "ann@inbox.test")
    assert Worker(admin.folder).reason("ann@inbox.test") == "manual"
    await admin.feed.write()
    await _add(admin, "bob@inbox.test")
    worker = Worker(admin.folder)
    assert worker.reason("ann@inbox.test") == worker.reason("bob@inbox.test") == "manual"


async def test_the_table_is_not_older_than_what_it_makes_workers_forget(
    admin: AdminUnderTest, moment: list[int]
) -> None:
    """A worker's own notice, of a fact that the ledger has not heard of, outlives a new table."""
    worker = Worker(admin.folder)
    told = RecipientHash(KeyRing.load(admin.folder / "keyring.json")).of("far@inbox.test")
    board = NoticeBoard(admin.folder / "notices", "worker-1")
    board.tell([Notice(entry_in_account(1, told), "unsubscribe", moment[0])])
    assert worker.reason("far@inbox.test") == "unsubscribe"
    moment[0] += DAY
    await admin.feed.write()
    worker.reload()
    assert worker.reason("far@inbox.test") == "unsubscribe"
    admin.feed.caught_up = lambda: moment[0] + 1  # the control: now it claims to know all
    await admin.feed.write()
    worker.reload()
    assert worker.reason("far@inbox.test") == ""
    board.close()


async def test_addresses_are_compared_in_their_regular_form(admin: AdminUnderTest) -> None:
    """Case and U-labels do not matter, and one address is there once."""
    await _add(admin, "Ann@BÜCHER.test")
    again = await admin.ask(
        "POST", "/suppressions", {"account": 1, "recipient": "ann@xn--bcher-kva.test"}
    )
    assert again.status == 409
    worker = Worker(admin.folder)
    assert worker.reason("ANN@bücher.test") == worker.reason("ann@xn--bcher-kva.test") == "manual"
    found = await admin.ask("GET", "/suppressions?recipient=ann@b%C3%BCcher.test")
    assert len(found.json["items"]) == 1


async def test_an_entry_expires(admin: AdminUnderTest, moment: list[int]) -> None:
    """When its time is over it is out of force, in the ledger and at the workers."""
    await _add(admin, "ann@inbox.test", expires_at="2027-01-16T00:00:00Z")
    worker = Worker(admin.folder)
    assert worker.reason("ann@inbox.test") == "manual"
    assert await expire(admin.services.changes) == 0
    moment[0] += 10 * DAY
    assert await expire(admin.services.changes) == 1
    assert worker.reason("ann@inbox.test") == ""
    assert (await admin.ask("GET", "/suppressions")).json["items"] == []


async def test_search(admin: AdminUnderTest) -> None:
    """By part of the address, exact address, scope and reason; wildcards are plain text."""
    for name in ("ann@inbox.test", "anna@other.test", "a_n@inbox.test", "a%n@inbox.test"):
        await _add(admin, name)
    await _add(admin, "dan@inbox.test", scope="campaign", within="spring", reason="complaint")

    async def found(query: str) -> list[str]:
        answer = await admin.ask("GET", f"/suppressions?{query}")
        return [entry["recipient"] for entry in answer.json["items"]]

    assert await found("search=ann") == ["ann@inbox.test", "anna@other.test"]
    assert await found("search=a_n") == ["a_n@inbox.test"]
    assert await found("search=a%25n") == ["a%n@inbox.test"]
    assert await found("recipient=ANN@inbox.test") == ["ann@inbox.test"]
    assert await found("reason=complaint") == ["dan@inbox.test"]
    assert await found("scope=campaign&within=spring") == ["dan@inbox.test"]


@pytest.mark.parametrize(
    "body",
    [
        {"recipient": "no address"},
        {"recipient": "ann@inbox.test\r\nRCPT TO:<x@y.test>"},
        {"recipient": "ann@inbox.test", "scope": "campaign"},
        {"recipient": "ann@inbox.test", "scope": "domain", "within": "no domain"},
        {"recipient": "ann@inbox.test", "within": "shop.test"},
        {"recipient": "ann@inbox.test", "reason": "because"},
        {"recipient": "ann@inbox.test", "expires_at": "2020-01-01T00:00:00Z"},
        {"recipient": "ann@inbox.test", "expires_at": "2030-01-01T00:00:00"},
    ],
)
async def test_what_makes_no_entry(admin: AdminUnderTest, body: dict[str, Any]) -> None:
    """Refused with 422; nothing is made."""
    answer = await admin.ask("POST", "/suppressions", {"account": 1, **body})
    assert answer.status == 422, answer.text
    assert (await admin.ask("GET", "/suppressions")).json["items"] == []


CSV = {"Content-Type": "text/csv"}


async def test_import_takes_good_lines_and_names_the_others(admin: AdminUnderTest) -> None:
    """With and without a head; a spreadsheet's byte order mark does not matter."""
    raw = (
        "\ufeffnote,recipient,reason,scope,within\r\n"
        "first,ann@inbox.test,complaint,,\r\n"
        ",bob@inbox.test,,campaign,spring\r\n"
        ",not an address,,,\r\n"
        ",cat@inbox.test,because,,\r\n"
        ",dan@inbox.test,,domain,\r\n"
        "\r\n"
        ",ann@inbox.test,,,\r\n"
    ).encode()
    answer = await admin.ask("POST", "/suppressions/import?account=1", raw=raw, headers=CSV)
    assert answer.status == 200, answer.text
    assert {name: answer.json[name] for name in ("added", "known", "refused")} == {
        "added": 2,
        "known": 1,
        "refused": 3,
    }
    assert [one["line"] for one in answer.json["refused_lines"]] == [4, 5, 6]
    worker = Worker(admin.folder)
    assert worker.reason("ann@inbox.test") == "complaint"
    assert worker.reason("bob@inbox.test", campaign="spring") == "import"
    plain = b"eve@inbox.test\nfay@inbox.test\n"
    answer = await admin.ask("POST", "/suppressions/import?account=1", raw=plain, headers=CSV)
    assert answer.json["added"] == 2


async def test_a_big_import_replaces_the_table(admin: AdminUnderTest) -> None:
    """Workers are told to map it; no notice per address is written."""
    replaced: list[int] = []
    admin.feed.replaced = lambda: replaced.append(1)
    raw = "\n".join(f"r{number}@inbox.test" for number in range(6000)).encode()
    answer = await admin.ask("POST", "/suppressions/import?account=1", raw=raw, headers=CSV)
    assert answer.json["added"] == 6000
    assert replaced == [1]
    assert Worker(admin.folder).reason("r5999@inbox.test") == "import"
    assert Worker(admin.folder).reason("r6000@inbox.test") == ""


async def test_an_export_can_be_imported_again(admin: AdminUnderTest) -> None:
    """Nothing is lost on the way, and no cell is a formula."""
    await _add(admin, "=cmd@inbox.test", note='+1, "quoted"')
    await _add(admin, "'tick@inbox.test", scope="campaign", within="-spring")
    exported = await admin.ask("GET", "/suppressions/export?account=1")
    assert exported.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert "\n=" not in exported.text
    assert "'=cmd@inbox.test" in exported.text
    await admin.account("Other")
    raw = exported.text.encode()
    answer = await admin.ask("POST", "/suppressions/import?account=2", raw=raw, headers=CSV)
    assert answer.json["added"] == 2, answer.text
    again = await admin.ask("GET", "/suppressions/export?account=2")
    assert _cells(again.text) == _cells(exported.text)


def _cells(text: str) -> list[list[str]]:
    return [row[:5] for row in csv.reader(io.StringIO(text))]


@pytest.mark.parametrize("raw", [b"\xff\xfe", b'"open', b"a\x00b@inbox.test"])
async def test_an_import_that_is_no_csv(admin: AdminUnderTest, raw: bytes) -> None:
    """400, or the line is refused; never 500."""
    answer = await admin.ask("POST", "/suppressions/import?account=1", raw=raw, headers=CSV)
    assert answer.status == 400 or answer.json["refused"] == 1


async def test_a_bounce_makes_an_entry_that_names_it(
    admin: AdminUnderTest, moment: list[int]
) -> None:
    """The reason, the event's time, kind and delivery are in the entry."""
    facts = Facts(admin, moment)
    await facts.send(facts.accepted())
    bounce = facts.event(
        Kind.BOUNCED, account=1, recipient="Ann@inbox.test", scope="account", category="hard"
    )
    assert await facts.send(bounce, crash=True) == 1
    (entry,) = (await admin.ask("GET", "/suppressions")).json["items"]
    assert entry["recipient"] == "ann@inbox.test"
    assert entry["reason"] == "hard-bounce"
    assert entry["event"]["kind"] == "bounced"
    assert entry["event"]["delivery"] == to_text(facts.delivery)


@pytest.mark.parametrize(
    ("scope", "within"), [("account", ""), ("domain", "shop.test"), ("campaign", "spring")]
)
async def test_an_unsubscription_finds_its_recipient(
    admin: AdminUnderTest, moment: list[int], scope: str, within: str
) -> None:
    """It knows its delivery only; the address comes from the ledger."""
    facts = Facts(admin, moment)
    await facts.send(facts.accepted())
    assert await facts.send(facts.event(Kind.UNSUBSCRIBED, scope=scope, account=1)) == 1
    (entry,) = (await admin.ask("GET", "/suppressions")).json["items"]
    assert (entry["recipient"], entry["scope"], entry["within"]) == (
        "ann@inbox.test",
        scope,
        within,
    )


async def test_a_fact_waits_for_its_delivery(admin: AdminUnderTest, moment: list[int]) -> None:
    """A hit may arrive before its acceptance, from another worker, even across a restart."""
    facts = Facts(admin, moment)
    early = facts.event(Kind.UNSUBSCRIBED, scope="account", account=1)
    assert await facts.send(early) == 0
    assert await facts.send(early) == 0
    assert await facts.send(facts.accepted()) == 1
    assert await facts.send() == 0
    assert len((await admin.ask("GET", "/suppressions")).json["items"]) == 1


async def test_facts_that_suppress_nobody_cost_nothing(
    admin: AdminUnderTest, moment: list[int]
) -> None:
    """A soft bounce, a hit, noise: no entry."""
    facts = Facts(admin, moment)
    made = await facts.send(
        facts.accepted(),
        facts.event(Kind.BOUNCED, account=1, recipient="Ann@inbox.test", category="soft"),
        facts.event(Kind.OPENED, scope="account"),
    )
    assert made == 0
    noise = [Batch(9, (b"\xc1noise",))]
    assert await admin.services.suppression_facts.take(noise) == 0


async def test_a_disk_that_refuses_is_said(admin: AdminUnderTest) -> None:
    """The entry is stored, the answer says that workers follow later; and then they do."""
    in_the_way = admin.folder / "notices"
    in_the_way.write_text("a file where a folder is needed")
    body = {"account": 1, "recipient": "ann@inbox.test"}
    answer = await admin.ask("POST", "/suppressions", body)
    assert answer.status == 503
    assert "it is stored" in answer.json["detail"]
    assert len((await admin.ask("GET", "/suppressions")).json["items"]) == 1
    in_the_way.unlink()
    await admin.feed.finish()
    assert Worker(admin.folder).reason("ann@inbox.test") == "manual"

"""What comes back through the running relay: real reports suppress, stop queued mail, and show
under the right reason; what cannot be linked is kept and suppresses nobody.

One relay serves all that hands reports in, one whose next hop is the sandbox the rest; each test
has sending domains and recipients of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import aiohttp
import pytest
import pytest_asyncio

from relay.sandbox.reading import Reading, read
from relay.sandbox.returns import Returned, complaint, delivery_report
from relay.sandbox.sink import Sink
from tests.harness.provision import provision
from tests.harness.relay_under_test import ROOT, RelayUnderTest
from tests.harness.sink_route import SinkRoute, sink_route

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

DOMAINS = (
    "posted.test", "named.test", "looped.test", "dropped.test", "told.test", "forged.test",
    "worded.test",
)  # fmt: skip
SCOPES = ("account", "domain", "campaign")
WAYS = ("mailto", "page", "one-click")
BY_SCOPE = tuple(f"{scope}.{way}.test" for way in WAYS for scope in SCOPES)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def route(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SinkRoute]:
    folder = tmp_path_factory.mktemp("returns")
    drop: dict[str, object] = {"maildir": str(folder / "drop")}
    async with sink_route(folder / "node", tracked=DOMAINS + BY_SCOPE, inbound=drop) as up:
        yield up


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SinkRoute]:
    """A relay that delivers to its own sandbox; there is no sink to look into."""
    async with RelayUnderTest(tmp_path_factory.mktemp("sandbox"), workers=2) as relay:
        domains = ("bounce-later.test", "queued.bounce-later.test", "complain.test")
        tenant = await provision(
            relay, tracked=(*domains, "queued.complain.test"), passwordless=True
        )
        yield SinkRoute(relay, tenant, Sink())


async def _suppressed(route: SinkRoute, recipient: str) -> list[dict[str, Any]]:
    found = await route.ask("GET", f"/suppressions?recipient={recipient}")
    items: list[dict[str, Any]] = found["items"]
    return items


async def _become(route: SinkRoute, what: str, holds: Callable[[], Any]) -> None:
    await route.relay.until(holds, what, 30)


def _about(route: SinkRoute, to: str, body: bytes) -> Returned:
    return Returned(sender=route.sink.got[-1].sender, recipient=to, content=body, at=1.8e9)


def _dsn(about: Returned) -> bytes:
    return delivery_report(about, status="5.1.1", diagnostic="550 5.1.1 No such user here")


# --- the sandbox's own recipients


@pytest.mark.parametrize(
    ("part", "reason", "measures"),
    [
        ("bounce-later", "hard-bounce", {"later_hard": 1, "delivered": 0}),
        ("complain", "complaint", {"complained": 1, "delivered": 1}),
    ],
)
async def test_a_report_of_the_sandbox_suppresses_and_stops_queued_mail(
    sandbox: SinkRoute, part: str, reason: str, measures: dict[str, int]
) -> None:
    to, domain, queued = f"{part}@inbox.sandbox.test", f"{part}.test", f"queued.{part}.test"
    await sandbox.ask("POST", "/pauses", {"kind": "domain", "value": queued})
    await asyncio.sleep(1.0)
    await sandbox.submit(to, domain=queued)  # waits in the queue
    await sandbox.submit(to, domain=domain)

    async def suppressed() -> bool:
        return bool(await _suppressed(sandbox, to))

    await _become(sandbox, f"{to} to be suppressed", suppressed)
    (entry,) = await _suppressed(sandbox, to)
    assert (entry["reason"], entry["scope"]) == (reason, "account")
    assert entry["event"]["delivery"]
    await asyncio.sleep(1.0)  # the promise: in force for what is begun more than a second later
    (pause,) = (await sandbox.ask("GET", "/pauses"))["items"]
    await sandbox.ask("DELETE", f"/pauses/{pause['id']}")
    await sandbox.stats_become(queued, excluded=1, delivered=0)
    await sandbox.stats_become(domain, **measures)
    facet = f"/domains/{queued}/stats?measures=excluded&group_by=exclusion_reason"
    (row,) = (await sandbox.ask("GET", facet))["rows"]
    assert (row["group"]["exclusion_reason"], row["values"]["excluded"]) == (reason, 1)
    if part == "bounce-later":
        facet = f"/domains/{domain}/stats?measures=later_hard&group_by=bounce_reason"
        (row,) = (await sandbox.ask("GET", facet))["rows"]
        assert row["group"]["bounce_reason"] == "userunknown"
    assert (await sandbox.ask("GET", "/sums"))["differences"] == []


# --- reports by other doors


async def test_a_report_handed_in_over_http_is_linked_by_its_copy(route: SinkRoute) -> None:
    body = await route.send("posted@inbox.test", domain="posted.test")
    report = _dsn(_about(route, "posted@inbox.test", body))
    answer = await _post(route, report)
    assert (answer["kind"], answer["event"], answer["suppressed"]) == ("bounce", "bounced", True)
    assert answer["linked_by"] in ("return-path", "copy")
    assert [e["reason"] for e in await _suppressed(route, "posted@inbox.test")] == ["hard-bounce"]
    await route.stats_become("posted.test", later_hard=1)


async def test_without_anything_of_ours_the_message_id_links_and_suppresses_nobody(
    route: SinkRoute,
) -> None:
    body = await route.send("named@inbox.test", domain="named.test")
    await route.stats_become("named.test", delivered=1)
    mid = read(body).message_id
    bare = (
        f"From: news@named.test\r\nTo: named@inbox.test\r\nMessage-ID: {mid}\r\n\r\nx\r\n".encode()
    )
    about = Returned(sender="x@y.test", recipient="named@inbox.test", content=bare, at=1.8e9)
    answer = await _post(route, _dsn(about))
    assert (answer["linked_by"], answer["suppressed"]) == ("message-id", False)
    assert answer["kept_because"]
    await route.stats_become("named.test", later_hard=1)
    assert await _suppressed(route, "named@inbox.test") == []


async def test_what_cannot_be_linked_is_kept_and_suppresses_nobody(route: SinkRoute) -> None:
    about = Returned(
        sender="x@y.test", recipient="eve@inbox.test", content=b"Subject: s\r\n\r\n", at=1.8e9
    )
    answer = await _post(route, _dsn(about))
    assert (answer["delivery"], answer["event"], answer["suppressed"]) == ("", "bounced", False)
    entries = (await route.ask("GET", "/reports/unlinked"))["items"]
    assert ("eve@inbox.test", "userunknown") in [(e["recipient"], e["reason"]) for e in entries]
    assert await _suppressed(route, "eve@inbox.test") == []
    assert (await route.ask("GET", "/sums"))["differences"] == []


async def test_a_feedback_loop_writes_to_a_mailbox_without_a_delivery(route: SinkRoute) -> None:
    account = route.tenant.account
    kept = len((await route.ask("GET", "/reports/unlinked"))["items"])
    path = f"/reports/mailbox?account={account}"
    mailbox = (await route.ask("GET", path))["address"]
    assert mailbox.startswith("f+")
    body = await route.send("ann@inbox.test", domain="looped.test")
    report = complaint(_about(route, "ann@inbox.test", body), to=mailbox)
    assert (await route.hand_back(mailbox, report))[0] == 250
    await route.stats_become("looped.test", complained=1)
    assert [e["reason"] for e in await _suppressed(route, "ann@inbox.test")] == ["complaint"]
    # A copy that carries nothing of ours is kept as a report of its own.
    stranger = Returned(
        sender="x@y.test", recipient="bob@inbox.test", content=b"Subject: s\r\n\r\n", at=1.8e9
    )
    assert (await route.hand_back(mailbox, complaint(stranger, to=mailbox)))[0] == 250

    async def listed_are(number: int) -> bool:
        return len((await route.ask("GET", "/reports/unlinked"))["items"]) == kept + number

    await _become(route, "the report to be listed", partial(listed_are, 1))
    assert await _suppressed(route, "bob@inbox.test") == []
    # The mailbox of another account says nothing about this one's mail.
    other = (await route.ask("GET", "/reports/mailbox?account=1"))["address"]
    body = await route.send("cem@inbox.test", domain="looped.test")
    report = complaint(_about(route, "cem@inbox.test", body), to=other)
    assert (await route.hand_back(other, report))[0] == 250

    await _become(route, "the foreign report to be listed", partial(listed_are, 2))
    assert await _suppressed(route, "cem@inbox.test") == []
    # Where the copy carries nothing signed, its Message-ID links in this account's mailbox, not in
    # another's; anybody who got the mail knows it, so that it suppresses nobody.
    body = await route.send("dan@inbox.test", domain="looped.test")
    mid = read(body).message_id
    bare = f"From: news@looped.test\r\nMessage-ID: {mid}\r\nSubject: x\r\n\r\nx\r\n".encode()
    about = Returned(sender="x@y.test", recipient="dan@inbox.test", content=bare, at=1.8e9)
    report = complaint(about, to=mailbox).replace(b"dan@inbox.test", b"redacted@inbox.test")
    assert (await route.hand_back(other, report))[0] == 250
    assert (await route.hand_back(mailbox, report))[0] == 250
    await route.stats_become("looped.test", complained=2)
    await _become(route, "the foreign report to be listed", partial(listed_are, 3))
    assert await _suppressed(route, "dan@inbox.test") == []
    assert (await route.ask("GET", "/sums"))["differences"] == []


async def test_a_maildir_is_read_and_emptied(route: SinkRoute) -> None:
    body = await route.send("dropped@inbox.test", domain="dropped.test")
    report = _dsn(_about(route, "dropped@inbox.test", body))
    drop = route.relay.directory.parent / "drop"
    new = drop / "new"
    before = {kind: await _came_back(route, kind) for kind in ("other", "bounce")}
    endless = b"From: MAILER-DAEMON@x.test\nContent-Type: text/html\n\n&#" + b"1" * 5000 + b";\n"
    (new / "0.endless").write_bytes(endless)  # it once ended control
    (new / "1.first").write_bytes(report)

    async def moved() -> bool:
        return not list(new.iterdir())

    await _become(route, "the mail to be moved", moved)
    assert sorted(p.name for p in (drop / "cur").iterdir()) == ["0.endless:2,S", "1.first:2,S"]
    assert (await _post(route, endless))["suppressed"] is False
    assert await _came_back(route, "other") == before["other"] + 2  # dropped, and handed in
    assert await _came_back(route, "bounce") == before["bounce"] + 1
    assert [e["reason"] for e in await _suppressed(route, "dropped@inbox.test")] == ["hard-bounce"]


async def _came_back(route: SinkRoute, kind: str) -> int:
    _, text = await route.relay.ask("GET", "/metrics")
    name = f'waypost_inbound_mails_total{{kind="{kind}"}} '
    line = next(line for line in str(text).split("\n") if line.startswith(name))
    return int(float(line.removeprefix(name)))


async def _command(route: SinkRoute, *arguments: str, given: bytes = b"") -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relay", "--config", str(route.relay.config), *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=ROOT,
    )
    out, _ = await process.communicate(given)
    assert process.returncode == 0, out.decode()
    return out.decode()


async def test_the_same_by_command(route: SinkRoute, tmp_path: Path) -> None:
    body = await route.send("told@inbox.test", domain="told.test")
    report = _dsn(_about(route, "told@inbox.test", body))
    (tmp_path / "one.eml").write_bytes(report)
    said = json.loads(await _command(route, "bounce", "report", str(tmp_path / "one.eml")))
    assert (said["event"], said["suppressed"]) == ("bounced", True)
    stranger = report.replace(b"b+", b"x+")
    said = json.loads(await _command(route, "bounce", "report", "-", given=stranger))
    assert (said["linked_by"], said["suppressed"]) in (("message-id", False), ("copy", True))
    about = Returned(
        sender="x@y.test", recipient="eve@inbox.test", content=b"Subject: s\r\n\r\n", at=1.8e9
    )
    await _command(route, "bounce", "report", "-", given=_dsn(about))
    assert "eve@inbox.test" in await _command(route, "bounce", "unlinked")
    mailbox = json.loads(
        await _command(route, "bounce", "mailbox", "--account", "tenant", "--json")
    )
    assert mailbox["address"].startswith("f+")
    assert json.loads(await _command(route, "brakes", "--json")) == []
    keys = json.loads(await _command(route, "keys", "rotate", "--json"))
    assert keys == json.loads(await _command(route, "keys", "list", "--json"))
    assert [key["signs"] for key in keys] == [False, True]


async def test_an_unsigned_address_is_refused_before_the_mail(route: SinkRoute) -> None:
    body = await route.send("forged@inbox.test", domain="forged.test")
    about = _about(route, "forged@inbox.test", body)
    forged = about.sender.replace(about.sender[5], "a" if about.sender[5] != "a" else "b")
    assert (await route.hand_back(forged, _dsn(about)))[0] == 550


async def test_words_without_a_machine_readable_part_suppress_nobody(route: SinkRoute) -> None:
    """bad-inputs B05: whoever got a mail knows its return path and can write such a text."""
    body = await route.send("worded@inbox.test", domain="worded.test")
    about = _about(route, "worded@inbox.test", body)
    words = (
        b"From: MAILER-DAEMON@mx.inbox.test\r\nSubject: Undelivered Mail Returned to Sender\r\n\r\n"
        b"<worded@inbox.test>: host mx.inbox.test said: 550 5.1.1 No such user here\r\n"
    )
    assert (await route.hand_back(about.sender, words))[0] == 250
    await route.stats_become("worded.test", later_hard=1)
    assert await _suppressed(route, "worded@inbox.test") == []


# --- unsubscription, by each way and in each scope


@pytest.mark.parametrize("way", WAYS)
async def test_scopes_of_an_unsubscription_are_in_force_with_control_down(
    route: SinkRoute, way: str
) -> None:
    by_account, by_domain, by_campaign = domains = [f"{scope}.{way}.test" for scope in SCOPES]
    for domain, scope in zip(domains, SCOPES, strict=True):
        await route.ask("PATCH", f"/domains/{domain}", {"unsubscribe_scope": scope})
    await asyncio.sleep(1.0)
    people = {domain: f"{domain.removesuffix('.test')}@inbox.test" for domain in domains}
    mails = {
        domain: await route.reading(to, domain=domain, campaign="spring")
        for domain, to in people.items()
    }
    os.kill(route.relay.pids()["control"], signal.SIGSTOP)
    try:
        for reading in mails.values():
            await _unsubscribe(route, reading, way)
        await asyncio.sleep(1.0)  # the promise
        before = len(route.sink.bodies)
        wanted = [
            (people[by_account], by_domain, "spring", False),  # account: nowhere any more
            (people[by_domain], by_domain, "summer", False),  # domain: not from there
            (people[by_domain], by_campaign, "spring", True),
            (people[by_campaign], by_campaign, "spring", False),  # campaign: not this one
            (people[by_campaign], by_campaign, "summer", True),
        ]
        for to, domain, campaign, _ in wanted:
            await route.submit(to, domain=domain, campaign=campaign)
        due = before + sum(goes for *_, goes in wanted)

        async def arrived() -> bool:
            return len(route.sink.bodies) == due

        await _become(route, f"{due} mails", arrived)
    finally:
        os.kill(route.relay.pids()["control"], signal.SIGCONT)
    for domain, scope in zip(domains, SCOPES, strict=True):
        await route.stats_become(domain, unsubscribed=1)
        (entry,) = await _suppressed(route, people[domain])
        assert (entry["reason"], entry["scope"]) == ("unsubscribe", scope)
    assert len(route.sink.bodies) == due


async def _unsubscribe(route: SinkRoute, reading: Reading, way: str) -> None:
    if way == "mailto":
        parts = urlsplit(reading.unsubscribe_mail)
        subject = parse_qs(parts.query)["subject"][0]
        mail = f"From: somebody@inbox.test\r\nSubject: {subject}\r\n\r\n"
        assert (await route.hand_back(unquote(parts.path), mail.encode()))[0] == 250
        return
    form = {"List-Unsubscribe": "One-Click"} | ({"button": "page"} if way == "page" else {})
    async with aiohttp.ClientSession() as session:
        async with session.get(reading.unsubscribe) as answer:  # changes nothing
            assert answer.status == 200
        async with session.post(reading.unsubscribe, data=form) as answer:
            assert answer.status == 200


async def _post(route: SinkRoute, report: bytes) -> dict[str, Any]:
    connector = aiohttp.UnixConnector(str(route.relay.data_dir / "run" / "admin.sock"))
    headers = {"Content-Type": "message/rfc822"}
    url = "http://localhost/api/v1/reports"
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post(url, data=report, headers=headers) as answer,
    ):
        said: dict[str, Any] = await answer.json()
        assert answer.status == 200, said
        return said

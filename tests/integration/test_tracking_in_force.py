"""Tracking settings in force through the running relay: switches, blocks, consent, privacy, hosts,
keys, certificates. Where a test sleeps a second, the second is the promise (DESIGN section 2).

One relay serves all tests but one, each with sending domains of its own.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import re
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from relay.submission.tls import self_signed
from tests.harness.sink_route import LINK, SinkRoute, sink_route

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

PRIVATE = {"open.test": "full", "shop.test": "noaddress", "club.test": "aggregate"}
DOMAINS = (
    "switched.test", "blocked.test", "free.test", "asked.test", "keys.test", "moved.test", *PRIVATE,
)  # fmt: skip
PERSON = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def route(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SinkRoute]:
    async with sink_route(tmp_path_factory.mktemp("node"), tracked=DOMAINS) as up:
        yield up


async def _switch(route: SinkRoute, **change: object) -> None:
    first = await route.ask("POST", "/tracking", change)
    await route.ask("POST", "/tracking", {**change, "confirm": first["confirm"]})


async def test_what_the_tracking_host_was_asked_is_in_the_metrics(route: SinkRoute) -> None:
    """The first test, so that nothing asked before is still on its way into the metrics."""
    natures = {"human", "prefetch", "proxy", "scanner", "unknown"}

    async def asked() -> Counter[str]:
        """Count requests by kind, hits in one whoever made them, and mail left untracked."""
        found: Counter[str] = Counter()
        _, text = await route.relay.ask("GET", "/metrics")
        for line in text.splitlines():
            name, _, value = line.rpartition(" ")
            labels = dict(re.findall(r'(\w+)="([^"]*)"', name))
            if name.startswith("waypost_tracking_requests_total"):
                what = labels["classification"]
                found[f"{labels['kind']} {'hit' if what in natures else what}"] += int(float(value))
            elif name.startswith("waypost_rewrite_skipped_total"):
                found[labels["reason"]] += int(float(value))
        for name in ("spool_commit_seconds", "outbox_lag_seconds", "outbox_bytes", "worker_up"):
            assert f'waypost_{name}{{worker="0"}}' in text
        return found

    before = await asked()
    reading = await route.reading("meg@inbox.test", domain="free.test")
    click, pixel = reading.links[0], reading.images[-1]
    for address in (pixel, click, pixel.replace("/o/", "/o/x"), click.replace("/c/", "/c/x")):
        await route.get(address, headers=PERSON)
    await route.get(click.replace("/c/", "/u/"))  # a click's token unsubscribes nobody
    plain = "From: news@free.test\r\nTo: mo@inbox.test\r\nSubject: Hi\r\n\r\nNo HTML.\r\n"
    await asyncio.to_thread(route._submit, "news@free.test", "mo@inbox.test", plain)
    wanted = {
        "click hit": 1,
        "open hit": 1,
        "click bad-token": 1,
        "open bad-token": 1,
        "unsubscribe bad-token": 1,
        "no-html": 1,
    }
    found: Counter[str] = Counter()

    async def counted() -> bool:
        nonlocal found
        found = await asked() - before
        return found == wanted

    with contextlib.suppress(AssertionError):
        await route.relay.until(counted, "the requests to be counted", 20)
    assert found == wanted


async def test_a_switch_reaches_every_worker_and_mail_in_the_queue(route: SinkRoute) -> None:
    before = len(route.sink.bodies)
    await route.ask("POST", "/pauses", {"kind": "domain", "value": "switched.test"})
    await asyncio.sleep(1.0)
    for number in range(4):
        await route.submit(f"queued{number}@inbox.test", domain="switched.test")
    await _switch(route, domains=["switched.test"], opens="off", clicks="off")
    await asyncio.sleep(1.0)
    for number in range(4):
        await route.submit(f"late{number}@inbox.test", domain="switched.test")
    (pause,) = (await route.ask("GET", "/pauses"))["items"]
    await route.ask("DELETE", f"/pauses/{pause['id']}")
    bodies = (await route.arrived(before + 8))[before:]
    assert not [body for body in bodies if b"/c/" in body or b"/o/" in body]
    # The control: switched on again, mail that comes now is tracked, in both workers.
    await _switch(route, domains=["switched.test"], opens="on", clicks="on")
    await asyncio.sleep(1.0)
    for number in range(4):
        body = await route.send(f"again{number}@inbox.test", domain="switched.test")
        assert b"/c/" in body
        assert b"/o/" in body


async def test_blocks_answer_410_within_a_second_in_every_worker(route: SinkRoute) -> None:
    by_campaign = await route.reading("a@inbox.test", domain="free.test", campaign="spring")
    by_domain = await route.reading("b@inbox.test", domain="blocked.test")
    free = await route.reading("c@inbox.test", domain="free.test", campaign="summer")
    for reading in (by_campaign, by_domain, free):
        assert await route.get(reading.links[0]) == {(302, LINK)}
    account = route.tenant.account
    campaign = {"kind": "campaign", "value": "spring", "account": account}
    await route.ask("POST", "/blocks", campaign)
    await route.ask("POST", "/blocks", {"kind": "domain", "value": "blocked.test"})
    await asyncio.sleep(1.0)
    assert await route.get(by_campaign.links[0], times=8) == {(410, "")}
    assert await route.get(by_domain.links[0], times=8) == {(410, "")}
    assert await route.get(free.links[0], times=8) == {(302, LINK)}
    await route.ask("POST", "/blocks", {"kind": "destination", "value": "host:www.shop.test"})
    await asyncio.sleep(1.0)
    assert await route.get(free.links[0], times=8) == {(410, "")}
    for block in (await route.ask("GET", "/blocks"))["items"]:
        await route.ask("DELETE", f"/blocks/{block['id']}")
    await route.ask("POST", "/blocks", {"kind": "destination", "value": LINK})
    await asyncio.sleep(1.0)
    assert await route.get(by_campaign.links[0], times=8) == {(410, "")}
    (block,) = (await route.ask("GET", "/blocks"))["items"]
    await route.ask("DELETE", f"/blocks/{block['id']}")


async def test_who_withdraws_is_not_tracked_any_more_and_gets_mail(route: SinkRoute) -> None:
    ann = await route.reading("Ann@inbox.test", domain="asked.test")
    bob = await route.reading("bob@inbox.test", domain="asked.test")
    withdrawn = {"recipient": "ann@inbox.test", "scope": "tracking", "reason": "manual"}
    made = await route.ask("POST", "/suppressions", {**withdrawn, "account": route.tenant.account})
    await asyncio.sleep(1.0)
    for reading in (ann, bob):
        assert await route.get(reading.links[0], times=4) == {(302, LINK)}
        await route.get(reading.images[-1], times=4)
    body = await route.send("ann@inbox.test", domain="asked.test")
    assert b"/c/" not in body
    assert b"/o/" not in body
    await route.stats_become("asked.test", clicks=4, clicked=1, opens=4, opened=1, delivered=3)
    await route.ask("DELETE", f"/suppressions/{made['id']}")
    await asyncio.sleep(1.0)
    assert b"/c/" in await route.send("ann@inbox.test", domain="asked.test")


async def test_privacy_modes_keep_what_they_say(route: SinkRoute) -> None:
    for domain, privacy in PRIVATE.items():
        await route.ask("PATCH", f"/domains/{domain}", {"privacy": privacy})
    await asyncio.sleep(1.0)
    for domain in PRIVATE:
        reading = await route.reading("pat@inbox.test", domain=domain, campaign="spring")
        await route.get(reading.links[0], headers=PERSON)
    await route.stats_become("open.test", clicks=1, clicked=1)
    await route.stats_become("shop.test", clicks=1, clicked=1)
    await route.stats_become("club.test", clicks=1, clicked=0)  # sums, and nobody's
    by_campaign = "/domains/club.test/stats?measures=clicks&group_by=campaign"
    (row,) = (await route.ask("GET", by_campaign))["rows"]
    assert row["group"]["campaign"] == "spring"
    stories = {}
    for entry in (await route.ask("GET", "/deliveries"))["items"]:
        story = await route.ask("GET", f"/deliveries/{entry['id']}")
        stories[entry["sending_domain"]] = [e for e in story["events"] if e["kind"] == "clicked"]
    assert stories["club.test"] == []
    assert PERSON["User-Agent"] in str(stories["open.test"])
    assert stories["shop.test"]
    assert PERSON["User-Agent"] not in str(stories["shop.test"])
    assert "127.0.0.1" not in str(stories["shop.test"])
    assert (await route.ask("GET", "/sums"))["differences"] == []


async def test_keys_rotate_without_a_restart_and_old_links_work(route: SinkRoute) -> None:
    before = await route.reading("kim@inbox.test", domain="keys.test")
    assert _key_id(before.links[0]) == 1
    rotated = await route.ask("POST", "/keys/rotate")
    assert [(key["id"], key["signs"]) for key in rotated["items"]] == [(1, False), (2, True)]
    for number in range(4):  # whichever worker renders it
        after = await route.reading(f"n{number}@inbox.test", domain="keys.test")
        assert _key_id(after.links[0]) == 2
        assert await route.get(after.links[0], times=4) == {(302, LINK)}
    assert await route.get(before.links[0], times=8) == {(302, LINK)}
    assert await route.relay.stop() == 0
    await route.relay.start()
    assert await route.get(before.links[0], times=4) == {(302, LINK)}


def _key_id(link: str) -> int:
    token = link.rpartition("/")[2]
    return int.from_bytes(base64.urlsafe_b64decode(token[:4])[:2], "big") & 0xFFF


async def test_a_host_that_cannot_be_reached_means_untracked_mail(route: SinkRoute) -> None:
    async def host_is(expected: bool) -> None:
        async def says() -> bool:
            shown = await route.ask("GET", "/domains/moved.test")
            return bool(shown["tracking_ok"]) is expected

        await route.relay.until(says, f"tracking_ok to be {expected}")
        await asyncio.sleep(1.0)

    port = route.relay.ports["tracking"]
    await route.ask("PATCH", "/domains/moved.test", {"tracking_url": "http://nowhere.invalid"})
    await host_is(False)
    body = await route.send("max@inbox.test", domain="moved.test")
    assert b"/c/" not in body
    assert b"/o/" not in body
    status, metrics = await route.relay.ask("GET", "/metrics")
    assert status == 200
    assert "waypost_tracking_hosts_failing" in metrics

    host = f"http://localhost:{port}"
    await route.ask("PATCH", "/domains/moved.test", {"tracking_url": host})
    await host_is(True)
    reading = await route.reading("mia@inbox.test", domain="moved.test")
    assert reading.links[0].startswith(host + "/c/")
    assert await route.get(reading.links[0]) == {(302, LINK)}
    # A token is good on its own host only.
    elsewhere = reading.links[0].replace("localhost", "127.0.0.1")
    assert await route.get(elsewhere, times=4) == {(404, "")}
    entries = (await route.ask("GET", "/audit"))["items"]
    assert "domain.tracking-host" in {entry["action"] for entry in entries}


async def test_https_with_a_certificate_for_each_host(tmp_path: Path) -> None:
    """The default host cannot be found at all: mail of domains without their own is untracked."""
    folder = tmp_path / "hosts"
    folder.mkdir()
    files = {}
    for name in ("node.test", "localhost"):
        key, chain = self_signed(name, now=datetime.datetime.now(datetime.UTC))
        files[name] = folder / f"{name}.pem"
        files[name].write_bytes(chain + key)
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(files["localhost"].read_bytes())
    tracking: dict[str, object] = {
        "certificate": str(files["node.test"]),
        "private_key": str(files["node.test"]),
        "certificates": str(folder),
        "base_url": "http://nowhere.invalid",
    }
    async with sink_route(
        tmp_path / "node", environment={"SSL_CERT_FILE": str(trusted)}, tracking=tracking
    ) as route:
        host = f"https://localhost:{route.relay.ports['tracking']}"
        await route.relay.until(partial(_default_fails, route), "the default host to be found bad")
        untracked = await route.send("bob@inbox.test")
        assert b"nowhere.invalid" not in untracked.partition(b"\r\n\r\n")[2]
        await route.ask("PATCH", "/domains/news.test", {"tracking_url": host})

        async def checked() -> bool:
            return bool((await route.ask("GET", "/domains/news.test"))["tracking_ok"])

        await route.relay.until(checked, "the host's certificate to be found good")
        await asyncio.sleep(1.0)
        reading = await route.reading("ann@inbox.test")
        assert reading.links[0].startswith(host)
        parts = urlsplit(reading.links[0])
        assert await _redirect(route, parts.path, "localhost", trusted) == LINK
        with pytest.raises(ssl.SSLCertVerificationError):  # another name gets the node's own
            await _redirect(route, parts.path, "other.test", trusted)


async def _default_fails(route: SinkRoute) -> bool:
    entries = (await route.ask("GET", "/audit"))["items"]
    return any(entry["action"] == "tracking-host" for entry in entries)


async def _redirect(route: SinkRoute, path: str, name: str, trusted: Path) -> str:
    context = ssl.create_default_context(cafile=str(trusted))
    host, port = route.relay.address("tracking")
    reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=name)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    return answer.partition("Location: ")[2].partition("\r\n")[0]

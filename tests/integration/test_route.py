"""The whole route through the real doors: clients submit, a next hop takes, facts add up."""

from __future__ import annotations

import asyncio
import os
import signal
import smtplib
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import dkim  # type: ignore[import-untyped]  # ships no types
import pytest

from relay.sandbox.reading import read
from relay.sandbox.sink import Sink
from tests.harness.programs import need_program
from tests.harness.provision import Tenant, must, provision
from tests.harness.relay_under_test import RelayUnderTest

LINK = "https://www.shop.test/a?x=1&y=2#z"
HTML = (
    "From: Shop <news@news.test>\r\nTo: {to}\r\nSubject: Hi\r\nContent-Type: text/html\r\n\r\n"
    '<html><body><a href="https://www.shop.test/a?x=1&amp;y=2#z">a</a></body></html>\r\n'
)

pytestmark = pytest.mark.timeout(120)


@dataclass
class Route:
    """A relay, its tenant, and the sink behind it."""

    relay: RelayUnderTest
    tenant: Tenant
    sink: Sink

    def trusting(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    def submit(self, to: str, *, domain: str = "news.test", implicit: bool = False) -> None:
        """Submit with smtplib, by STARTTLS or by implicit TLS."""
        message = HTML.format(to=to).replace("@news.test", f"@{domain}")
        host, port = self.relay.address("tls" if implicit else "submission")
        if implicit:
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(host, port, context=self.trusting())
        else:
            smtp = smtplib.SMTP(host, port)
            smtp.starttls(context=self.trusting())
        with smtp:
            smtp.login(self.tenant.login, self.tenant.password)
            smtp.sendmail(f"news@{domain}", [to], message)

    async def arrived(self, count: int) -> list[bytes]:
        """Wait until so many messages are in the sink."""

        async def enough() -> bool:
            return len(self.sink.bodies) >= count

        await self.relay.until(enough, f"{count} messages to arrive")
        return self.sink.bodies

    async def stats(self, domain: str, *measures: str) -> dict[str, Any]:
        """Ask for measures of a domain."""
        query = "&".join(f"measures={name}" for name in measures)
        answer = await must(self.relay, "GET", f"/domains/{domain}/stats?{query}")
        return dict(answer["rows"][0]["values"]) if answer["rows"] else dict.fromkeys(measures, 0)

    async def stats_become(self, domain: str, **expected: int) -> None:
        """Wait until the statistics say this."""

        async def equal() -> bool:
            return await self.stats(domain, *expected) == expected

        try:
            await self.relay.until(equal, f"{domain}: {expected}", 20)
        except AssertionError as late:
            raise AssertionError(f"{await self.stats(domain, *expected)}\n{late}") from None


@asynccontextmanager
async def running(folder: Path, **settings: dict[str, object]) -> AsyncIterator[Route]:
    sink = Sink()
    host, port = await sink.start()
    delivery = {"mode": "smarthost", "smarthost": f"{host}:{port}", "smarthost_tls": "none"}
    merged: dict[str, dict[str, object]] = {"delivery": {**delivery}, **settings}
    relay = RelayUnderTest(folder, settings=merged, workers=2)
    try:
        async with relay:
            tenant = await provision(relay, tracked=("news.test",), untracked=("plain.test",))
            yield Route(relay, tenant, sink)
    finally:
        await sink.close()


@pytest.fixture
async def route(tmp_path: Path) -> AsyncIterator[Route]:
    async with running(tmp_path) as up:
        yield up


async def test_smtplib_by_starttls_and_by_implicit_tls(route: Route) -> None:
    await asyncio.to_thread(route.submit, "ann@inbox.test")
    await asyncio.to_thread(route.submit, "bob@inbox.test", implicit=True)
    await asyncio.to_thread(route.submit, "cem@inbox.test", domain="plain.test")
    bodies = await route.arrived(3)
    (plain,) = [body for body in bodies if b"news@plain.test" in body]
    assert plain.endswith(
        HTML.format(to="cem@inbox.test").replace("@news.test", "@plain.test").encode()
    )
    for body in bodies:
        if body is not plain:
            assert body.count(b"/c/") == 1
            assert body.count(b"/o/") == 1
    await route.stats_become("news.test", requested=2, delivered=2)
    await route.stats_become("plain.test", requested=1, delivered=1)


async def test_swaks_by_starttls_and_by_implicit_tls(route: Route) -> None:
    swaks = need_program("swaks")
    for door, how in (("submission", "-tls"), ("tls", "-tlsc")):
        host, port = route.relay.address(door)
        done = await asyncio.to_thread(
            subprocess.run,
            [
                *(swaks, "--server", host, "--port", str(port), how, "-a", "PLAIN"),
                *("-au", route.tenant.login, "-ap", route.tenant.password),
                *("-f", "news@plain.test", "-t", "ann@inbox.test"),
                *("--header", "From: news@plain.test", "--body", "hello\n.dot\n..dots\n"),
            ],
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout.decode()
    for body in await route.arrived(2):
        assert b"hello\r\n.dot\r\n..dots" in body


async def test_what_arrives_carries_a_signature_that_verifies(route: Route) -> None:
    await asyncio.to_thread(route.submit, "ann@inbox.test")
    (body,) = await route.arrived(1)
    domain = await must(route.relay, "GET", "/domains/news.test")
    records = {
        f"{key['selector']}._domainkey.news.test.": key["record"].encode() for key in domain["dkim"]
    }
    verifier = dkim.DKIM(body)
    fields = [text for name, text in verifier.headers if name.lower() == b"dkim-signature"]
    rsa = next(at for at, text in enumerate(fields) if b"a=rsa-sha256" in text)
    assert verifier.verify(rsa, dnsfunc=lambda name, timeout=5: records[name.decode()])


async def test_a_click_lands_on_the_destination_and_counts(route: Route) -> None:
    await asyncio.to_thread(route.submit, "ann@inbox.test")
    (body,) = await route.arrived(1)
    reading = read(body)
    async with aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.get(reading.links[0], allow_redirects=False) as answer:
                assert (answer.status, answer.headers["Location"]) == (302, LINK)
        async with session.get(reading.images[0]) as answer:
            assert answer.status == 200
    await route.stats_become("news.test", clicks=2, clicked=1, opens=1, opened=1)


async def test_an_unsubscription_stops_the_next_mail_also_while_control_is_down(
    route: Route,
) -> None:
    await asyncio.to_thread(route.submit, "ann@inbox.test")
    (body,) = await route.arrived(1)
    os.kill(route.relay.pids()["control"], signal.SIGSTOP)
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.post(read(body).unsubscribe, data={"List-Unsubscribe": "One-Click"}) as answer,
        ):
            assert answer.status == 200
        await asyncio.sleep(1.0)  # the promise: transactions begun more than a second later
        for _ in range(4):  # whichever worker takes it
            await asyncio.to_thread(route.submit, "ann@inbox.test")
        await asyncio.to_thread(route.submit, "bob@inbox.test")
        await route.arrived(2)
    finally:
        os.kill(route.relay.pids()["control"], signal.SIGCONT)
    await route.stats_become("news.test", requested=6, excluded=4, delivered=2, unsubscribed=1)
    assert len(route.sink.bodies) == 2


async def test_a_killed_process_comes_back_and_nothing_is_lost(route: Route) -> None:
    for number, name in enumerate(("worker-0", "worker-1", "control"), start=1):
        pid = route.relay.pids()[name]
        os.kill(pid, signal.SIGKILL)

        async def replaced(name: str = name, pid: int = pid) -> bool:
            return route.relay.pids().get(name, pid) != pid and await route.relay.is_ready()

        await route.relay.until(replaced, f"{name} to be started again")
        await asyncio.to_thread(route.submit, f"n{number}@inbox.test")
    await route.arrived(3)
    await route.stats_become("news.test", requested=3, delivered=3)


async def test_stopping_drains_and_a_new_start_goes_on(route: Route) -> None:
    await asyncio.to_thread(route.submit, "ann@inbox.test")
    await route.arrived(1)
    assert await route.relay.stop() == 0
    await route.relay.start()
    await asyncio.to_thread(route.submit, "bob@inbox.test")
    await route.arrived(2)
    await route.stats_become("news.test", requested=2, delivered=2)


async def test_mail_waits_for_a_next_hop_that_is_away(tmp_path: Path) -> None:
    async with running(tmp_path) as up:
        host, port = await _closed(up.sink)
        await asyncio.to_thread(up.submit, "ann@inbox.test")
        await up.stats_become("news.test", requested=1, deferred_messages=1)
        again = Sink()
        await again.start(host, port)
        up.sink = again
        try:
            await up.arrived(1)
            await up.stats_become("news.test", requested=1, delivered=1)
        finally:
            await again.close()


async def _closed(sink: Sink) -> tuple[str, int]:
    server = sink.receiver._server
    assert server is not None
    address: tuple[str, int] = server.sockets[0].getsockname()[:2]
    await sink.close()
    return address

"""The whole route through the real doors: clients submit, a next hop takes, facts add up.

One relay serves all of them, each with a sending domain of its own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import smtplib
import subprocess
from collections.abc import AsyncIterator

import dkim  # type: ignore[import-untyped]  # ships no types
import pytest
import pytest_asyncio

from relay.sandbox.reading import read
from relay.sandbox.sink import Sink
from tests.harness.programs import need_program
from tests.harness.provision import submission_door
from tests.harness.sink_route import LINK, SinkRoute, sink_route

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

TRACKED = (
    "tls.test", "signed.test", "clicked.test", "gone.test", "killed.test", "stopped.test",
    "away.test",
)  # fmt: skip
PAGE = "From: news@{0}\r\nContent-Type: text/html\r\n\r\n" + f'<a href="{LINK}">a</a>\r\n'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def route(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SinkRoute]:
    async with sink_route(tmp_path_factory.mktemp("route"), tracked=TRACKED) as up:
        yield up


def with_login(route: SinkRoute, kind: str, domain: str) -> str:
    """Submit a page of a domain under TLS; give it as submitted."""
    door, page = submission_door(route.relay, route.tenant, kind), PAGE.format(domain)
    smtp = (
        smtplib.SMTP(door.host, door.port)
        if door.starttls
        else smtplib.SMTP_SSL(door.host, door.port, context=door.tls)
    )
    with smtp:
        if door.starttls:
            smtp.starttls(context=door.tls)
        smtp.login(door.login, door.password)
        smtp.sendmail(f"news@{domain}", [f"{kind}@inbox.test"], page)
    return page


@pytest.mark.parametrize("kind", ["submission", "tls"])
async def test_smtplib_by_starttls_and_by_implicit_tls(route: SinkRoute, kind: str) -> None:
    before = len(route.sink.bodies)
    await asyncio.to_thread(with_login, route, kind, "tls.test")
    page = await asyncio.to_thread(with_login, route, kind, "plain.test")
    bodies = await route.arrived(before + 2)
    (tracked,) = [body for body in bodies[before:] if b"news@tls.test" in body]
    assert (tracked.count(b"/c/"), tracked.count(b"/o/")) == (1, 1)
    (plain,) = [body for body in bodies[before:] if b"news@plain.test" in body]
    assert plain.endswith(page.encode())


@pytest.mark.parametrize(("kind", "how"), [("submission", "-tls"), ("tls", "-tlsc")])
async def test_swaks_by_starttls_and_by_implicit_tls(route: SinkRoute, kind: str, how: str) -> None:
    swaks = need_program("swaks")
    host, port = route.relay.address(kind)
    before = len(route.sink.bodies)
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
    assert b"hello\r\n.dot\r\n..dots" in (await route.arrived(before + 1))[-1]


async def test_what_arrives_carries_a_signature_that_verifies(route: SinkRoute) -> None:
    body = await route.send("ann@inbox.test", domain="signed.test")
    domain = await route.ask("GET", "/domains/signed.test")
    records = {
        f"{key['selector']}._domainkey.signed.test.": key["record"].encode()
        for key in domain["dkim"]
    }
    verifier = dkim.DKIM(body)
    fields = [text for name, text in verifier.headers if name.lower() == b"dkim-signature"]
    rsa = next(at for at, text in enumerate(fields) if b"a=rsa-sha256" in text)
    assert verifier.verify(rsa, dnsfunc=lambda name, timeout=5: records[name.decode()])
    changed = dkim.DKIM(body.replace(b"<html>", b"<HTML>"))
    with pytest.raises(dkim.ValidationError):
        changed.verify(rsa, dnsfunc=lambda name, timeout=5: records[name.decode()])


async def test_a_click_lands_on_the_destination_and_counts(route: SinkRoute) -> None:
    reading = await route.reading("ann@inbox.test", domain="clicked.test")
    assert await route.get(reading.links[0], times=2) == {(302, LINK)}
    assert {status for status, _ in await route.get(reading.images[0])} == {200}
    await route.stats_become("clicked.test", clicks=2, clicked=1, opens=1, opened=1)


async def test_an_unsubscription_stops_the_next_mail_also_while_control_is_down(
    route: SinkRoute,
) -> None:
    body = await route.send("gone@inbox.test", domain="gone.test")
    os.kill(route.relay.pids()["control"], signal.SIGSTOP)
    try:
        assert await route.unsubscribe(read(body).unsubscribe) == 200
        await asyncio.sleep(1.0)  # the promise: transactions begun more than a second later
        for _ in range(4):  # whichever worker takes it
            await route.submit("gone@inbox.test", domain="gone.test")
        await route.send("bob@inbox.test", domain="gone.test")
    finally:
        os.kill(route.relay.pids()["control"], signal.SIGCONT)
    await route.stats_become("gone.test", requested=6, excluded=4, delivered=2, unsubscribed=1)
    assert sum(b"gone@inbox.test" in body for body in route.sink.bodies) == 1


async def test_a_killed_process_comes_back_and_nothing_is_lost(route: SinkRoute) -> None:
    for number, name in enumerate(("worker-0", "worker-1", "control"), start=1):
        pid = route.relay.pids()[name]
        os.kill(pid, signal.SIGKILL)

        async def replaced(name: str = name, pid: int = pid) -> bool:
            return route.relay.pids().get(name, pid) != pid and await route.relay.is_ready()

        await route.relay.until(replaced, f"{name} to be started again")
        await route.send(f"n{number}@inbox.test", domain="killed.test")
    await route.stats_become("killed.test", requested=3, delivered=3)


async def test_stopping_drains_and_a_new_start_goes_on(route: SinkRoute) -> None:
    await route.send("ann@inbox.test", domain="stopped.test")
    assert await route.relay.stop() == 0
    await route.relay.start()
    await route.send("bob@inbox.test", domain="stopped.test")
    await route.stats_become("stopped.test", requested=2, delivered=2)


async def test_mail_waits_for_a_next_hop_that_is_away(route: SinkRoute) -> None:
    host, port = await _closed(route.sink)
    await route.submit("ann@inbox.test", domain="away.test")
    await route.stats_become("away.test", requested=1, deferred_messages=1)
    again = Sink()
    await again.start(host, port)
    try:
        await route.stats_become("away.test", requested=1, delivered=1)
        assert len(again.bodies) == 1
    finally:
        await again.close()


async def _closed(sink: Sink) -> tuple[str, int]:
    server = sink.receiver._server
    assert server is not None
    address: tuple[str, int] = server.sockets[0].getsockname()[:2]
    await sink.close()
    return address

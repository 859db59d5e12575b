"""A delivered mail in a real browser: the pixel loads, links lead exactly where they did before,
the unsubscribe page works by its button.

"Exactly" is what the destination's server sees on the wire, and the address that the browser shows
afterwards (with the fragment, which never goes on the wire): both the same with tracking as
without.
"""

from __future__ import annotations

import asyncio
import email
import smtplib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import pytest
import pytest_asyncio
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from relay.sandbox.reading import read
from relay.sandbox.sink import Sink
from tests.harness.chromium import chromium, messages_of
from tests.harness.provision import Tenant, must, provision
from tests.harness.relay_under_test import RelayUnderTest

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

TARGETS = (
    "/plain",
    "/a?x=1&y=2#z",
    "/query?empty=&flag&x=1&x=2&sum=a+b%20c&q=%E4%BD%A0%e5%a5%bd",
    "/odd/;p=1,2/!$'()*:@~-._/%2F%2f%00/end?q=/?:@!$'()*,;[]{}|^`\\#frag/?!~%20x",
    "/up/../down/./x//y?next=https%3A%2F%2Fother.test%2F%3Fa%3D1%26b%3D2",
    "/straße/你好?wörter=ä 好&n=é#größe",
    "/entity?copy=1&amp=2&lt=3&region=4",
    "/percent?100%&%zz&%",
    "/?",
    "/#",
)
"""Paths with what browsers write in their own way; the href holds them as they stand here."""


TRACKED = ("news.test", "open.test", "leave.test")


@dataclass
class Destination:
    """A shop's server: writes down the request line of every request as it came in."""

    lines: list[bytes] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            line = head.split(b"\r\n", 1)[0]
            if b"/favicon.ico" not in line:
                self.lines.append(line)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nshop")
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # opened ahead and never used, or given up
        finally:
            writer.close()


@asynccontextmanager
async def destination() -> AsyncIterator[Destination]:
    found = Destination()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        await server.wait_closed()


@dataclass
class Stage:
    """A running relay, the sink behind it, and the shop that links lead to."""

    relay: RelayUnderTest
    tenant: Tenant
    sink: Sink
    shop: Destination

    def submit(self, domain: str, body: str) -> None:
        head = (
            f"From: Shop <news@{domain}>\r\nTo: ann@inbox.test\r\nSubject: Hi\r\n"
            "MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n"
            "Content-Transfer-Encoding: 8bit\r\n\r\n"
        )
        message = head.encode() + body.encode()
        host, port = self.relay.address("plain")
        with smtplib.SMTP(host, port) as smtp:
            smtp.sendmail(f"news@{domain}", ["ann@inbox.test"], message, ["BODY=8BITMIME"])

    async def delivered(self, domain: str, body: str) -> bytes:
        before = len(self.sink.bodies)
        await asyncio.to_thread(self.submit, domain, body)

        async def there() -> bool:
            return len(self.sink.bodies) > before

        await self.relay.until(there, "the mail to arrive")
        return self.sink.bodies[-1]

    async def stats_become(self, domain: str, **expected: int) -> None:
        names = "&".join(f"measures={name}" for name in expected)

        async def equal() -> bool:
            answer = await must(self.relay, "GET", f"/domains/{domain}/stats?{names}")
            return bool(answer["rows"]) and answer["rows"][0]["values"] == expected

        await self.relay.until(equal, f"the statistics to say {expected}", 20)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """One relay for all tests; each has a sending domain of its own."""
    folder = tmp_path_factory.mktemp("click")
    sink = Sink()
    host, port = await sink.start()
    settings: dict[str, dict[str, object]] = {
        "delivery": {
            "mode": "smarthost",
            "smarthost": f"{host}:{port}",
            "smarthost_tls": "none",
        },
    }
    relay = RelayUnderTest(folder / "relay", settings=settings)
    try:
        async with relay, destination() as shop:
            tenant = await provision(
                relay, tracked=TRACKED, untracked=("plain.test",), passwordless=True
            )
            yield Stage(relay, tenant, sink, shop)
    finally:
        await sink.close()


def mail_body(port: int) -> str:
    """Give the page: one link for each target, `&` written as HTML wants it.

    The shop goes by another name than the tracking host, whose own links are left alone.
    """
    links = (
        f'<p><a id="t{n}" href="{escape(f"http://localhost:{port}{target}")}">{n}</a></p>'
        for n, target in enumerate(TARGETS)
    )
    return "<!doctype html><html><body>\r\n" + "\r\n".join(links) + "\r\n</body></html>\r\n"


def as_file(message: bytes, path: Path) -> str:
    """Keep what a mail program would show as a file, decoded as it would; gives its address."""
    payload = email.message_from_bytes(message).get_payload(decode=True)
    assert isinstance(payload, bytes)
    path.write_bytes(b"\xef\xbb\xbf" + payload)  # the mark says what the header said: UTF-8
    return path.as_uri()


def click_all(browser: webdriver.Chrome, page: str, shop: Destination) -> list[tuple[bytes, str]]:
    """Click every link of a page; give what the shop saw, and what the browser shows afterwards."""
    seen = []
    for number in range(len(TARGETS)):
        browser.get(page)
        before = len(shop.lines)
        browser.find_element(By.ID, f"t{number}").click()

        def arrived(at: webdriver.Chrome, before: int = before) -> bool:
            return len(shop.lines) > before and at.current_url.startswith("http://localhost")

        WebDriverWait(browser, 20).until(arrived)
        seen.append((shop.lines[-1], browser.current_url))
    return seen


async def test_links_of_a_tracked_mail_land_where_they_did_without_tracking(
    stage: Stage, tmp_path: Path
) -> None:
    body = mail_body(stage.shop.port)
    plain = await stage.delivered("plain.test", body)
    tracked = await stage.delivered("news.test", body)
    ours = [link for link in read(tracked).links if f":{stage.relay.ports['tracking']}/c/" in link]
    assert f":{stage.shop.port}".encode() not in tracked, "all links were rewritten"
    assert len(ours) == len(TARGETS)
    files = [as_file(plain, tmp_path / "plain.html"), as_file(tracked, tmp_path / "tracked.html")]
    with chromium() as browser:
        before, after = [
            await asyncio.to_thread(click_all, browser, file, stage.shop) for file in files
        ]
    assert after == before
    assert before[1] == (
        b"GET /a?x=1&y=2 HTTP/1.1",
        f"http://localhost:{stage.shop.port}/a?x=1&y=2#z",
    )
    await stage.stats_become("news.test", clicks=len(TARGETS), clicked=1)


async def test_a_mail_opened_in_a_browser_counts_and_tells_the_shop_nothing(
    stage: Stage, tmp_path: Path
) -> None:
    before = len(stage.shop.lines)
    tracked = await stage.delivered("open.test", mail_body(stage.shop.port))
    with chromium() as browser:
        await asyncio.to_thread(browser.get, as_file(tracked, tmp_path / "tracked.html"))
        drawn = await asyncio.to_thread(
            browser.execute_script,
            "const all = [...document.images]; return all.map(i => [i.complete, i.naturalWidth])",
        )
        assert drawn == [[True, 1]], "the pixel was loaded and is a picture"
    await stage.stats_become("open.test", opens=1, opened=1, clicks=0)
    assert stage.shop.lines[before:] == []


async def test_the_unsubscribe_page_acts_by_its_button_and_not_before(stage: Stage) -> None:
    tracked = await stage.delivered("leave.test", mail_body(stage.shop.port))
    with chromium() as browser:
        await asyncio.to_thread(browser.get, read(tracked).unsubscribe)
        button = browser.find_element(By.TAG_NAME, "button")
        await stage.stats_become("leave.test", delivered=1, unsubscribed=0)
        await asyncio.to_thread(button.click)
        text = "return document.body?.innerText ?? ''"
        WebDriverWait(browser, 20).until(lambda b: "unsubscribed" in b.execute_script(text))
        problems = [line for line in messages_of(browser) if line["level"] == "SEVERE"]
        assert [p for p in problems if "favicon" not in p["message"]] == []
    await stage.stats_become("leave.test", delivered=1, unsubscribed=1)

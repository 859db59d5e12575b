"""The public tracking host through real HTTP: exact redirects, nothing on GET, nothing for a token
that is not ours.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import msgspec
import pytest
from aiohttp import web

from metrics.events import Event, Kind
from relay.errors import SpoolFullError
from relay.mail.keyring import KeyRing
from relay.settings import Blocks, SendingDomain
from relay.web import tracking
from relay.web.clients import ClientAddress
from relay.web.tracking import PIXEL, TrackingHost
from tests.harness.clerk import RING
from tracking import tokens
from tracking.tokens import Identity, Mint

WHO = Identity(delivery=77, account=1, domain=7, campaign=99)
MINT = Mint(RING, "t.relay.test")
HOST = {"Host": "t.relay.test"}


@dataclass
class Recorder:
    """Facts, in memory."""

    hits: list[Event] = field(default_factory=list)
    unsubscribed: list[Event] = field(default_factory=list)
    withdrew: set[int] = field(default_factory=set)
    full: bool = False

    def may_track(self, account: int, delivery: int) -> bool:
        return delivery not in self.withdrew

    def hit(self, event: bytes) -> None:
        self.hits.append(msgspec.msgpack.decode(event, type=Event))

    async def unsubscribe(self, event: Event) -> None:
        if self.full:
            raise SpoolFullError("outbox full")
        self.unsubscribed.append(event)


@dataclass
class Site:
    """A running tracking host and what it recorded."""

    url: str
    session: aiohttp.ClientSession
    recorder: Recorder
    blocks: Blocks = field(default_factory=Blocks)
    privacy: str = "full"

    async def ask(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, data: object = None
    ) -> tuple[int, dict[str, str], bytes]:
        async with self.session.request(
            method,
            self.url + path,
            headers=HOST | (headers or {}),
            data=data,
            allow_redirects=False,
        ) as response:
            return response.status, dict(response.headers), await response.read()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with _running() as running:
        yield running


@asynccontextmanager
async def _running(trusted: tuple[str, ...] = ()) -> AsyncIterator[Site]:
    recorder = Recorder()
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        running = Site("", session, recorder)
        host = TrackingHost(
            keyring=RING,
            blocks=lambda: running.blocks,
            domain=lambda id_: SendingDomain(
                id=id_, account=1, name="shop.test", privacy=running.privacy
            ),
            recorder=recorder,
            clients=ClientAddress(trusted),
            clock=lambda: 123,
        )
        runner = host.runner(access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        running.url = f"http://127.0.0.1:{port}"
        try:
            yield running
        finally:
            await runner.cleanup()


def click(url: str, link: int = 3) -> str:
    return "/c/" + MINT.token(tokens.Kind.CLICK, WHO, link=link, destination=url.encode())


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.test/a/../b?x=%2F&y=+&z#frag",
        "http://shop.test",
        "https://shop.test/a//b;c=d?e=f?g='\"|{}",
        "https://[::1]:8080/x",
    ],
)
async def test_the_location_is_the_destination_byte_for_byte(site: Site, url: str) -> None:
    status, headers, _ = await site.ask("GET", click(url))
    assert (status, headers["Location"]) == (302, url)
    assert headers["Cache-Control"] == "private, no-store"
    assert "Set-Cookie" not in headers
    (event,) = site.recorder.hits
    assert (event.kind, event.delivery, event.campaign_hash) == (Kind.CLICKED, 77, 99)
    assert event.hit is not None
    assert (event.hit.url, event.hit.link) == (url, 3)


async def test_the_pixel_is_the_same_for_everybody_and_recorded_for_ours(site: Site) -> None:
    good = "/o/" + MINT.token(tokens.Kind.OPEN, WHO) + ".gif"
    for path in (good, "/o/nonsense.gif"):
        status, headers, body = await site.ask("GET", path)
        assert (status, headers["Content-Type"], body) == (200, "image/gif", PIXEL)
    assert len(PIXEL) == 43
    assert [event.kind for event in site.recorder.hits] == [Kind.OPENED]


def _mutants() -> list[str]:
    good = click("https://shop.test/")
    other_host = Mint(RING, "t.other.test").token(
        tokens.Kind.CLICK, WHO, destination=b"https://evil.test/"
    )
    return [
        good[:-1],
        good + "A",
        good + "=",
        good.replace("/c/", "/c/ ").replace(" ", "%41"),
        good[:20] + ("B" if good[20] != "B" else "C") + good[21:],
        "/c/" + "A" * 100,
        "/c/" + other_host,
        "/c/" + MINT.token(tokens.Kind.OPEN, WHO),
        "/u/" + good[3:],
        good + "/../../x",
        "/c/%00",
        "/admin",
        "/metrics",
        "/healthz",
    ]


@pytest.mark.parametrize("path", _mutants())
async def test_what_is_not_ours_is_404_and_says_nothing(site: Site, path: str) -> None:
    status, headers, body = await site.ask("GET", path)
    assert status == 404
    assert "Location" not in headers
    assert body == b"404: Not Found"
    assert "Server" not in headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert site.recorder.hits == []


async def test_l10_control_without_the_signature_a_forged_click_counts(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked above would notice: the same click is refused, then taken."""
    foreign = Mint(KeyRing.of(b"another secret of thirty-two byte"), "t.relay.test")
    forged = foreign.token(tokens.Kind.CLICK, WHO, destination=b"https://evil.test/")
    assert (await site.ask("GET", "/c/" + forged))[0] == 404
    assert site.recorder.hits == []
    monkeypatch.setattr(hmac, "compare_digest", lambda _a, _b: True)
    assert (await site.ask("GET", "/c/" + forged))[0] == 302
    assert [event.kind for event in site.recorder.hits] == [Kind.CLICKED]


async def test_queries_and_hosts_never_move_the_target(site: Site) -> None:
    path = click("https://shop.test/") + "?url=https://evil.test/"
    status, headers, _ = await site.ask("GET", path)
    assert (status, headers["Location"]) == (302, "https://shop.test/")
    status, _, _ = await site.ask("GET", path, headers={"Host": "evil.test"})
    assert status == 404


async def test_a_host_that_no_domain_has_any_more_answers_its_old_links(site: Site) -> None:
    old = Mint(RING, "t.old.test").token(tokens.Kind.CLICK, WHO, destination=b"https://shop.test/")
    status, headers, _ = await site.ask("GET", f"/c/{old}", headers={"Host": "t.old.test"})
    assert (status, headers["Location"]) == (302, "https://shop.test/")
    assert (await site.ask("GET", f"/c/{old}"))[0] == 404


async def test_head_answers_like_get_and_other_methods_do_not(site: Site) -> None:
    status, headers, body = await site.ask("HEAD", click("https://shop.test/"))
    assert (status, headers["Location"], body) == (302, "https://shop.test/", b"")
    (event,) = site.recorder.hits
    assert event.hit is not None
    assert event.hit.method == "HEAD"
    for method in ("POST", "PUT", "DELETE"):
        assert (await site.ask(method, click("https://shop.test/")))[0] == 405


@pytest.mark.parametrize(
    "blocks",
    [
        Blocks(campaigns=frozenset({99})),
        Blocks(domains=frozenset({7})),
        Blocks(destinations=frozenset({"https://shop.test/x"})),
        Blocks(destinations=frozenset({"host:shop.test"})),
    ],
    ids=["campaign", "domain", "destination", "host"],
)
async def test_what_is_blocked_is_gone_and_unsubscribing_still_works(
    site: Site, blocks: Blocks
) -> None:
    site.blocks = blocks
    status, headers, _ = await site.ask("GET", click("https://shop.test/x"))
    assert status == 410
    assert "Location" not in headers
    assert site.recorder.hits == []
    unsubscribe = "/u/" + MINT.token(tokens.Kind.UNSUBSCRIBE, WHO)
    form = {"List-Unsubscribe": "One-Click"}
    assert (await site.ask("POST", unsubscribe, data=form))[0] == 200
    assert len(site.recorder.unsubscribed) == 1


async def test_unsubscribing_by_get_changes_nothing(site: Site) -> None:
    path = "/u/" + MINT.token(tokens.Kind.UNSUBSCRIBE, WHO)
    status, headers, body = await site.ask("GET", path)
    assert status == 200
    assert b'<form method="post">' in body
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert site.recorder.unsubscribed == []


async def test_who_cannot_be_unsubscribed_now_is_asked_to_come_back(site: Site) -> None:
    site.recorder.full = True
    path = "/u/" + MINT.token(tokens.Kind.UNSUBSCRIBE, WHO)
    status, headers, body = await site.ask("POST", path, data={"List-Unsubscribe": "One-Click"})
    assert (status, headers["Retry-After"]) == (503, "60")
    assert b"try again in a minute" in body
    site.recorder.full = False
    assert (await site.ask("POST", path, data={"List-Unsubscribe": "One-Click"}))[0] == 200


@pytest.mark.parametrize("link", [0, 1, 2])
@pytest.mark.parametrize("multipart", [False, True])
async def test_one_click_in_both_encodings(site: Site, link: int, *, multipart: bool) -> None:
    path = "/u/" + MINT.token(tokens.Kind.UNSUBSCRIBE, WHO, link=link)
    form = aiohttp.FormData({"List-Unsubscribe": "One-Click"}, default_to_multipart=multipart)
    status, headers, _ = await site.ask("POST", path, data=form)
    assert status == 200
    assert "Location" not in headers
    (event,) = site.recorder.unsubscribed
    assert (event.kind, event.delivery, event.account) == (Kind.UNSUBSCRIBED, 77, 1)
    assert event.scope == ("domain", "account", "campaign")[link]
    assert event.reason == "one-click"


async def test_who_waits_to_be_asked_for_the_form_is_asked(site: Site) -> None:
    path = "/u/" + MINT.token(tokens.Kind.UNSUBSCRIBE, WHO)
    form = {"List-Unsubscribe": "One-Click"}
    async with (
        asyncio.timeout(20),
        site.session.post(site.url + path, headers=HOST, data=form, expect100=True) as response,
    ):
        assert response.status == 200
    assert len(site.recorder.unsubscribed) == 1


async def test_a_wrong_form_is_a_clear_error(site: Site) -> None:
    path = "/u/" + MINT.token(tokens.Kind.UNSUBSCRIBE, WHO)
    status, _, body = await site.ask("POST", path, data={"x": "y"})
    assert status == 400
    assert b"List-Unsubscribe=One-Click" in body
    assert site.recorder.unsubscribed == []


async def test_w14_a_body_that_stalls_is_answered_408(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "_BODY_SECONDS", 0.05)
    path = "/u/" + MINT.token(tokens.Kind.UNSUBSCRIBE, WHO)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(site.url.rpartition(":")[2]))
    form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n"
    writer.write(f"POST {path} HTTP/1.1\r\nHost: {HOST['Host']}\r\n{form}\r\nList-".encode())
    assert (await reader.readline()).split()[1] == b"408"
    writer.close()
    await writer.wait_closed()
    assert site.recorder.unsubscribed == []


GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
PERSON = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.mark.parametrize(
    ("agent", "judged", "platform"), [(GMAIL, "proxy", None), (PERSON, "human", "Linux")]
)
async def test_privacy_keeps_address_and_program_out_and_the_judgement_in(
    site: Site, agent: str, judged: str, platform: str | None
) -> None:
    site.privacy = "noaddress"
    await site.ask("GET", click("https://shop.test/"), headers={"User-Agent": agent})
    (event,) = site.recorder.hits
    assert event.hit is not None
    assert (event.hit.user_agent, event.hit.address, event.hit.judged) == ("", "", judged)
    assert platform is None or event.hit.platform == platform
    assert event.delivery == 77


async def test_where_only_sums_are_kept_nothing_leads_to_a_recipient(site: Site) -> None:
    site.privacy = "aggregate"
    await site.ask("GET", click("https://shop.test/"), headers={"User-Agent": PERSON})
    (event,) = site.recorder.hits
    assert event.hit is not None
    assert (event.delivery, event.account, event.sending_domain_id) == (0, 1, 7)
    assert event.campaign_hash == 99
    assert event.at % 900_000_000 == 0
    assert (event.hit.user_agent, event.hit.address, event.hit.judged) == ("", "", "human")


async def test_who_withdrew_lands_on_the_destination_and_leaves_no_trace(site: Site) -> None:
    site.recorder.withdrew.add(77)
    status, headers, _ = await site.ask("GET", click("https://shop.test/"))
    assert (status, headers["Location"]) == (302, "https://shop.test/")
    await site.ask("GET", "/o/" + MINT.token(tokens.Kind.OPEN, WHO) + ".gif")
    assert site.recorder.hits == []


@pytest.mark.parametrize(
    ("field_", "location"),
    [
        (
            "https://b\xfccher.test/\xe4?q=\xf6".encode(),
            "https://xn--bcher-kva.test/%C3%A4?q=%C3%B6",
        ),
        (b"\x01" + "https://shop.test/?q=\xf6".encode(), "https://shop.test/?q=%F6"),
    ],
)
async def test_other_urls_become_what_a_browser_would_send(
    site: Site, field_: bytes, location: str
) -> None:
    path = "/c/" + MINT.token(tokens.Kind.CLICK, WHO, destination=field_)
    status, headers, _ = await site.ask("GET", path)
    assert (status, headers["Location"]) == (302, location)


@pytest.mark.parametrize("field_", [b"", b"javascript:alert(1)", b"\x3fhttps://a.test/", b"\xff"])
async def test_a_signed_destination_that_is_no_web_address_is_404(
    site: Site, field_: bytes
) -> None:
    path = "/c/" + MINT.token(tokens.Kind.CLICK, WHO, destination=field_)
    assert (await site.ask("GET", path))[0] == 404


async def test_robots_are_kept_away(site: Site) -> None:
    assert b"Disallow: /" in (await site.ask("GET", "/robots.txt"))[2]


@pytest.mark.parametrize(
    ("trusted", "forwarded", "expected"),
    [
        ((), "9.9.9.9", "127.0.0.1"),
        (("127.0.0.0/8",), "9.9.9.9", "9.9.9.9"),
        (("127.0.0.0/8",), "1.1.1.1, 9.9.9.9, 127.0.0.5", "9.9.9.9"),
        (("127.0.0.0/8",), "9.9.9.9, nonsense", "127.0.0.1"),
        (("10.0.0.0/8",), "9.9.9.9", "127.0.0.1"),
        (("127.0.0.0/8",), "", "127.0.0.1"),
    ],
)
async def test_only_trusted_proxies_say_who_asks(
    trusted: tuple[str, ...], forwarded: str, expected: str
) -> None:
    async with _running(trusted) as running:
        headers = {"X-Forwarded-For": forwarded} if forwarded else {}
        await running.ask("GET", click("https://shop.test/"), headers=headers)
        (event,) = running.recorder.hits
    assert event.hit is not None
    assert event.hit.address == expected

"""Parts are played through real doors: an HTTP listener and an inbound SMTP server on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from relay.sandbox.actor import Actor, Doors, Manner, Played
from relay.sandbox.dialogue import Dialogue
from relay.sandbox.part import Part
from relay.sandbox.process import SandboxOptions, serve_sandbox
from relay.sandbox.reading import read
from relay.sandbox.session import Arrival
from relay.sandbox.sink import Sink
from relay.sandbox.web import Web

HOST = "t.waypost.test:8081"
HTML = f"""<html><body><a href="https://elsewhere.test/a">out</a>
<A HREF='http://{HOST}/c/first%2F..?x=1&amp;y=2#part'>one</A>
<map><area href="http://{HOST}/c/two"></map>
<a href="http://{HOST}/c/three">three</a><a href="mailto:x@y.test">m</a>
<img src="https://cdn.test/logo.png">
<img src="http://{HOST}/o/pixel.gif" width=1 height=1>
</body></html>
"""
MAIL = (
    "From: News <news@shop.test>\r\nTo: ann@sandbox.test\r\nSubject: Hello\r\n"
    "Message-ID: <9@shop.test>\r\nMIME-Version: 1.0\r\n"
    f"List-Unsubscribe: <mailto:u+x@bounce.test>,\r\n <http://{HOST}/u/away>\r\n"
    "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    "Content-Type: text/html; charset=utf-8\r\n\r\n" + HTML.replace("\n", "\r\n")
).encode()


@dataclass
class Relay:
    """A stand-in for the relay's two doors that writes down what came through them."""

    tracking: tuple[str, int]
    inbound: tuple[str, int]
    sink: Sink
    requests: list[tuple[str, str, str, bytes]] = field(default_factory=list)

    @property
    def doors(self) -> Doors:
        """Give the doors as an actor wants them."""
        return Doors(inbound=self.inbound, web=Web(listener=self.tracking, hosts=frozenset({HOST})))


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    """Open both doors."""
    sink = Sink()
    inbound = await sink.start()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        line = (request.method, request.raw_path, request.headers["Host"], body)
        standing.requests.append(line)
        if request.path.startswith("/c/"):
            return web.Response(status=302, headers={"Location": "https://shop.test/exact?a=b"})
        return web.Response(text="ok", status=404 if "bad" in request.path else 200)

    server = web.ServerRunner(web.Server(answer))
    await server.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(server, listener).start()
    standing = Relay(listener.getsockname()[:2], inbound, sink)
    yield standing
    await server.cleanup()
    await sink.close()


def arrival(content: bytes = MAIL, sender: bytes = b"b+verp@bounce.test") -> Arrival:
    """Make a message that arrived."""
    return Arrival(
        number=1, sender=sender, recipients=(b"ann@sandbox.test",), content=content, at=1.79e9
    )


async def play(relay: Relay, part: Part, content: bytes = MAIL, links: int = 2) -> list[Played]:
    """Play one part at once."""
    waits: list[float] = []

    async def no_wait(seconds: float) -> None:
        waits.append(seconds)

    actor = Actor(relay.doors, clock=lambda: 1.8e9, sleep=no_wait)
    return await actor.act(arrival(content), b"ann@sandbox.test", part, Manner(links=links))


async def test_open_loads_the_pixel_only(relay: Relay) -> None:
    (played,) = await play(relay, Part.OPEN)
    assert (played.what, played.done, played.reply) == ("opened", True, "200")
    assert played.message_id == "<9@shop.test>"
    assert relay.requests == [("GET", "/o/pixel.gif", HOST, b"")]


async def test_click_follows_the_first_links_exactly(relay: Relay) -> None:
    played = await play(relay, Part.CLICK, links=2)
    assert [p.what for p in played] == ["opened", "clicked", "clicked"]
    assert [p.location for p in played[1:]] == ["https://shop.test/exact?a=b"] * 2
    assert [path for _, path, _, _ in relay.requests[1:]] == ["/c/first%2F..?x=1&y=2", "/c/two"]
    assert all(p.done for p in played)


async def test_unsubscribe_posts_the_form(relay: Relay) -> None:
    (played,) = await play(relay, Part.UNSUBSCRIBE)
    assert played.done
    assert relay.requests == [("POST", "/u/away", HOST, b"List-Unsubscribe=One-Click")]


async def test_without_one_click_nothing_is_posted(relay: Relay) -> None:
    bare = MAIL.replace(b"List-Unsubscribe-Post", b"X-Other")
    (played,) = await play(relay, Part.UNSUBSCRIBE, bare)
    assert not played.done
    assert relay.requests == []


async def test_a_refused_link_is_a_record_that_is_not_done(relay: Relay) -> None:
    (played,) = await play(relay, Part.OPEN, MAIL.replace(b"/o/pixel", b"/o/bad"))
    assert (played.done, played.reply) == (False, "404")


@pytest.mark.parametrize(
    ("part", "status", "text"),
    [
        (Part.BOUNCE_LATER, "5.1.1", b"Status: 5.1.1"),
        (Part.HARD_BOUNCE_LATER, "5.1.1", b"Status: 5.1.1"),
        (Part.SOFT_BOUNCE_LATER, "5.2.2", b"Status: 5.2.2"),
    ],
)
async def test_a_bounce_goes_to_the_return_path(
    relay: Relay, part: Part, status: str, text: bytes
) -> None:
    (played,) = await play(relay, part)
    assert (played.what, played.done, played.status) == ("bounced", True, status)
    assert relay.sink.got[0].sender == ""
    assert relay.sink.got[0].recipients == ("b+verp@bounce.test",)
    assert text in relay.sink.bodies[0]


async def test_a_complaint_goes_to_the_feedback_address_if_there_is_one(relay: Relay) -> None:
    (first,) = await play(relay, Part.COMPLAIN)
    (second,) = await play(
        relay, Part.COMPLAIN, b"CFBL-Address: fbl@waypost.test; report=arf\r\n" + MAIL
    )
    assert first.done
    assert second.done
    assert [got.recipients for got in relay.sink.got] == [
        ("b+verp@bounce.test",),
        ("fbl@waypost.test",),
    ]
    assert b"Feedback-Type: abuse" in relay.sink.bodies[0]


async def test_autoreply(relay: Relay) -> None:
    (played,) = await play(relay, Part.AUTOREPLY)
    assert played.done
    assert b"Auto-Submitted: auto-replied" in relay.sink.bodies[0]


async def test_the_null_sender_gets_no_mail(relay: Relay) -> None:
    (played,) = await Actor(relay.doors).act(
        arrival(sender=b""), b"ann@sandbox.test", Part.BOUNCE_LATER, Manner(return_after=0)
    )
    assert not played.done
    assert relay.sink.got == []


async def test_closed_doors_make_records_not_exceptions(unused_port: int) -> None:
    closed = ("127.0.0.1", unused_port)
    actor = Actor(Doors(inbound=closed, web=Web(listener=closed, hosts=frozenset({HOST}))))
    now = Manner(open_after=0, click_after=0, return_after=0)
    for part in (Part.CLICK, Part.COMPLAIN, Part.UNSUBSCRIBE):
        played = await actor.act(arrival(), b"ann@sandbox.test", part, now)
        assert played
        assert not any(p.done for p in played)


@pytest.fixture
def unused_port() -> int:
    """Give a port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_the_web_door_asks_nobody_else(relay: Relay) -> None:
    for url in (
        "https://elsewhere.test/",
        f"http://{HOST}@evil.test/",
        "file:///etc/passwd",
        "//x",
    ):
        got = await relay.doors.web.get(url)
        assert got.status == 0
    assert (await relay.doors.web.get(f"http://{HOST}/a b\r\nX: y")).status == 0
    assert relay.requests == []


def test_reading_survives_anything() -> None:
    for content in (
        b"",
        b"\0" * 100,
        b"Content-Type: text/html; charset=\xff\r\n\r\n<a href='x",
        MAIL[:300],
    ):
        read(content)


async def test_the_process_plays_what_arrives(relay: Relay) -> None:
    played: list[Played] = []
    enough = asyncio.Event()

    def note(what: Played) -> None:
        played.append(what)
        if len(played) == 3:
            enough.set()

    listener = socket.create_server(("127.0.0.1", 0))
    options = SandboxOptions(
        tracking=relay.tracking, tracking_hosts=frozenset({HOST}), delay=0, played=note
    )
    serving = asyncio.create_task(serve_sandbox(listener, relay.inbound, options))
    async with Dialogue(*listener.getsockname()[:2]) as client:
        send = client.send
        assert (await send(b"b+1@bounce.test", (b"open1@sandbox.test",), MAIL)).code == 250
        assert (await send(b"b+2@bounce.test", (b"complain@x.sandbox.test",), MAIL)).code == 250
        assert (await send(b"b+3@bounce.test", (b"open@elsewhere.test",), MAIL)).code == 250
        assert (await send(b"b+4@bounce.test", (b"bounce@sandbox.test",), MAIL)).code == 550
        codes = [(await send(b"b+5@b.test", (b"defer1@sandbox.test",), MAIL)).code for _ in "12"]
        assert codes == [451, 250]
        assert (await send(b"b+6@bounce.test", (b"autoreply@sandbox.test",), MAIL)).code == 250
    async with asyncio.timeout(10):
        await enough.wait()
    serving.cancel()
    await asyncio.wait([serving])
    assert sorted((p.what, p.recipient) for p in played) == [
        ("autoreplied", "autoreply@sandbox.test"),
        ("complained", "complain@x.sandbox.test"),
        ("opened", "open1@sandbox.test"),
    ]

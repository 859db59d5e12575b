"""A web server for browser tests of tracking: pages before and after, our redirects, and a shop.

Guarantees: every name below `.test` that a browser asks here gets the same answers: a page that was
put up, our own handler's redirect or pixel, or the shop's page for anything else. In a frame that
page tells the one around it the request line and the Host field as they came in, and its own
address. Pages that were put up run no scripts and load nothing from elsewhere, as mail programs do.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from metrics.events import Event
from relay.settings import Blocks
from relay.web.clients import ClientAddress
from relay.web.tracking import TrackingHost
from tracking.offline import HOST, IDENTITY, RING
from tracking.plan import Plan, Switches, compile_plan
from tracking.render import render
from tracking.tokens import Mint

_POLICY = (
    b"default-src 'none'; style-src 'unsafe-inline'; img-src http://t.waypost.test:*; frame-src *"
)
_TELL = b"<script>parent.postMessage([...%s, location.href], '*')</script>"


class _Forgetful:
    """Facts are somebody else's test."""

    def hit(self, event: bytes) -> None:
        """Record nothing."""

    def may_track(self, account: int, delivery: int) -> bool:
        """Everybody agrees."""
        return True

    async def unsubscribe(self, event: Event) -> None:
        """Record nothing."""


@dataclass
class Pages:
    """The running server: what it shows, and what the shop was asked."""

    port: int = 0
    tracking_port: int = 0
    shown: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    connected: set[asyncio.StreamWriter] = field(default_factory=set)

    def show(self, name: str, charset: str, html: bytes) -> str:
        """Put up a page; gives its address."""
        self.shown[f"/shown/{name}"] = (charset, html)
        return f"http://page.test:{self.port}/shown/{name}"

    def plan(self, message: bytes, *, outlook: bool = False) -> Plan:
        """Compile a message with this server as tracking host."""
        base = f"http://{HOST}:{self.tracking_port}"
        switches = Switches(opens=True, clicks=True, outlook=outlook)
        return compile_plan(message, switches, base_url=base, rewrite_signed=True)

    def rewritten(self, message: bytes) -> bytes:
        """Give a message as one recipient gets it."""
        pieces = render(
            message, self.plan(message), Mint(RING, HOST), IDENTITY, opens=True, clicks=True
        )
        return b"".join(pieces)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        self.connected.add(writer)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await self.answer(head, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # opened ahead and never used, or given up
        finally:
            writer.close()
            self.connected.discard(writer)

    async def answer(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        """Give a page, or be the shop."""
        line, *fields = head.split(b"\r\n")
        path = line.split(b" ")[1].decode("latin-1")
        host = next((each for each in fields if each.lower().startswith(b"host:")), b"")
        content_type = b"text/html"
        # tells the page around its frame what was asked, and what the browser shows
        told = json.dumps([line.decode("latin-1"), host.decode("latin-1")]).replace("<", "\\u003c")
        body = _TELL % told.encode()
        if path in self.shown:
            charset, body = self.shown[path]
            content_type += f"; charset={charset}".encode() if charset else b""
        lines = (
            b"HTTP/1.1 200 OK",
            b"Content-Type: " + content_type,
            b"Content-Security-Policy: "
            + (_POLICY if path in self.shown else b"object-src 'none'"),
            b"Content-Length: %d" % len(body),
            b"Connection: close",
        )
        writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        await writer.drain()


@asynccontextmanager
async def pages() -> AsyncIterator[Pages]:
    """Run the server, and the tracking host beside it on a port of its own."""
    found = Pages()
    host = TrackingHost(
        keyring=RING,
        blocks=Blocks,
        domain=lambda _: None,
        recorder=_Forgetful(),
        clients=ClientAddress(()),
        clock=lambda: 0,
    )
    runner = host.runner(access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.tracking_port = runner.addresses[0][1]
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        for writer in tuple(found.connected):
            writer.close()
            await writer.wait_closed()
        await server.wait_closed()
        await runner.cleanup()

"""The admin listener as it is: a ledger on disk, the application on TCP and a unix socket."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from metrics.events import Event, Kind
from relay.clock import now
from relay.control.operations.dkim_keys import KeyMaker, new_rsa_key
from relay.control.operations.dns_records import NodeNames
from relay.control.services import Services, build_services
from relay.control.suppression_feed import SuppressionFeed
from relay.ids import IdSource
from relay.ledger.engine import Ledger, open_ledger
from relay.ledger.fold import Folder
from relay.mail.keyring import KeyRing
from relay.notices import NoticeBoard
from relay.settings import Change
from relay.spool.protocol import Batch
from relay.web.admin.app import build_admin_app
from relay.web.admin.problems import Problem

NODE = NodeNames(
    hostname="mx.relay.test",
    return_path="bounce.relay.test",
    tracking_url="https://t.relay.test",
    addresses=("192.0.2.7",),
)


one_rsa_key = lru_cache(new_rsa_key)
"""Making one key takes longer than most tests: they share it, each sealed on its own."""


@dataclass(slots=True)
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        """Read the body as JSON."""
        return msgspec.json.decode(self.text)


@dataclass(slots=True)
class AdminUnderTest:
    """A running admin listener and a client for it."""

    services: Services
    ledger: Ledger
    snapshot: Path
    url: str
    socket: Path
    tcp: aiohttp.ClientSession
    unix: aiohttp.ClientSession
    feed: SuppressionFeed
    folder: Path
    fed: list[Change] = field(default_factory=list)

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = None,
        headers: dict[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Reply:
        """Ask on TCP with a key, or on the unix socket without one."""
        session, base = (self.unix, "http://operator") if key is None else (self.tcp, self.url)
        sent = dict(headers or {})
        if key:
            sent["Authorization"] = f"Bearer {key}"
        if body is not None:
            raw = msgspec.json.encode(body)
            sent.setdefault("Content-Type", "application/json")
        address = path
        if not address.startswith(("/api/", "/healthz", "/readyz", "/metrics", "/openapi")):
            address = "/api/v1" + address
        data = io.BytesIO(raw) if raw else None
        async with session.request(method, base + address, data=data, headers=sent) as response:
            reply = Reply(response.status, dict(response.headers), await response.text())
        self._check(method, address.partition("?")[0], reply)
        return reply

    def _check(self, method: str, path: str, reply: Reply) -> None:
        """Hold every answer against the type that the OpenAPI document is made from."""
        if reply.status >= 400:
            assert reply.headers["Content-Type"].startswith("application/problem+json")
            problem = msgspec.json.decode(reply.text, type=Problem)
            assert problem.status == reply.status
        elif path.startswith("/api"):
            route, _ = self.services.registry.find(method, path)
            assert reply.status == route.status
            if route.result is not None and route.result is not bytes:
                msgspec.json.decode(reply.text, type=route.result)

    async def account(self, name: str) -> int:
        """Make an account; give its id."""
        made = await self.ask("POST", "/accounts", {"name": name})
        assert made.status == 201, made.text
        id_: int = made.json["id"]
        return id_

    async def key(
        self, account: int | None, scopes: Sequence[str], domains: Sequence[str] = ()
    ) -> str:
        """Make an API key; give its text."""
        asked: dict[str, Any] = {"name": "test", "scopes": list(scopes), "domains": list(domains)}
        if account is not None:
            asked["account"] = account
        made = await self.ask("POST", "/api-keys", asked)
        assert made.status == 201, made.text
        text: str = made.json["key"]
        return text

    async def domain(self, name: str, account: int) -> dict[str, Any]:
        """Register a sending domain; give its entry."""
        made = await self.ask("POST", "/domains", {"name": name, "account": account})
        assert made.status == 201, made.text
        entry: dict[str, Any] = made.json
        return entry


@asynccontextmanager
async def admin_under_test(
    folder: Path,
    *,
    clock: Callable[[], int] = now,
    url: str = "",
    more: Callable[[web.Application, Services, Ledger], None] | None = None,
) -> AsyncIterator[AdminUnderTest]:
    """Open a ledger in `folder` (or at `url`) and serve it; `more` adds to the application."""
    fed: list[Change] = []
    ring = KeyRing.load_or_create(folder / "keyring.json")
    snapshot = folder / "settings.msgpack"
    async with open_ledger(url or f"sqlite:///{folder / 'ledger.sqlite'}") as ledger:
        board = NoticeBoard(folder / "notices", "control")
        feed = SuppressionFeed(ledger, folder / "suppressions.table", board, clock=clock)
        maker = KeyMaker(ring, one_rsa_key)
        services = build_services(ledger, ring, NODE, snapshot, feed, key_maker=maker, clock=clock)
        services.publisher.listeners.changed = fed.extend
        await ledger.read(services.publisher.load)
        await services.publisher.start()
        app = build_admin_app(services)
        if more is not None:
            more(app, services, ledger)
        runner = web.AppRunner(app)
        await runner.setup()
        tcp_site = web.TCPSite(runner, "127.0.0.1", 0)
        await tcp_site.start()
        await web.UnixSite(runner, str(folder / "admin.sock")).start()
        port = runner.addresses[0][1]
        connector = aiohttp.UnixConnector(str(folder / "admin.sock"))
        try:
            async with (
                aiohttp.ClientSession() as tcp,
                aiohttp.ClientSession(connector=connector) as unix,
            ):
                yield AdminUnderTest(
                    services=services,
                    ledger=ledger,
                    snapshot=snapshot,
                    url=f"http://127.0.0.1:{port}",
                    socket=folder / "admin.sock",
                    tcp=tcp,
                    unix=unix,
                    fed=fed,
                    feed=feed,
                    folder=folder,
                )
        finally:
            await runner.cleanup()
            board.close()


class Facts:
    """Facts as workers send them up: taken, folded, settled."""

    def __init__(self, admin: AdminUnderTest, moment: list[int], *, spool: str = "spool-1") -> None:
        """Start with an empty outbox and one delivery to tell of."""
        self._spool = spool
        self._admin = admin
        self._folder = Folder(admin.ledger)
        self._at = moment
        self._seq = 0
        self.delivery = IdSource(1, clock=lambda: moment[0]).take()

    async def send(self, *events: Event, crash: bool = False) -> int:
        """Send one batch; with `crash` control ends before the fold and it is sent again."""
        self._seq += 1
        batch = [Batch(self._seq, tuple(msgspec.msgpack.encode(event) for event in events))]
        facts = self._admin.services.suppression_facts
        made = await facts.take(batch)
        if crash:
            made += await facts.take(batch)
        await self._folder.fold(self._spool, batch)
        return made + await facts.settle()

    def event(self, kind: Kind, **more: Any) -> Event:
        """Give a fact of the delivery."""
        return Event(kind=kind, at=self._at[0], delivery=self.delivery, **more)

    def accepted(self) -> Event:
        """Give the fact that the delivery was accepted."""
        return self.event(
            Kind.ACCEPTED,
            message=self.delivery,
            account=1,
            sending_domain="shop.test",
            recipient="Ann@inbox.test",
            recipient_domain="inbox.test",
            campaign="spring",
        )

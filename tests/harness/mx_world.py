"""The world that a relay with MX delivery sends into: DNS, and mail servers of many domains.

All servers listen on one port, each on an address of its own (127.1.x.y), because a relay has one
setting for the port of MX hosts.
"""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.harness.fake_dns import FakeDns, Zone
from tests.harness.provision import must, provision
from tests.harness.relay_under_test import RelayUnderTest, Settings
from tests.harness.scripted_mx import EXTENSIONS, ScriptedMx

MAIL = "From: <news@{sender}>\r\nTo: <{to}>\r\nSubject: Hi\r\n{fields}\r\n{text}"


class WatchedMx(ScriptedMx):
    """Also notes who connects, and how many are connected at once."""

    def __init__(self, **options: Any) -> None:
        """See ScriptedMx."""
        super().__init__(**options)
        self.peers: Counter[str] = Counter()
        self.peer_of: dict[int, str] = {}  # by number of the session
        self.open = 0
        self.most = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")[0]
        self.peers[peer] += 1
        self.peer_of[self.sessions + 1] = peer
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            await super()._serve(reader, writer)
        finally:
            self.open -= 1


@dataclass
class MxWorld:
    """Domains and their servers; more may be added before and while the relay runs."""

    dns: FakeDns
    stack: AsyncExitStack
    port: int = 0
    servers: dict[str, WatchedMx] = field(default_factory=dict)
    _last: int = 1

    def address(self) -> str:
        """Give an address that nobody has yet."""
        self._last += 1
        return f"127.1.{self._last >> 8}.{self._last & 255}"

    def domain(self, name: str, *records: str) -> None:
        """Publish MX records ("10 host.test.")."""
        self.dns.zone[name] = {"MX": list(records)}

    async def server(
        self,
        domain: str,
        *,
        tls: ssl.SSLContext | None = None,
        extensions: tuple[str, ...] = EXTENSIONS,
    ) -> WatchedMx:
        """Start a server that is the MX of a domain under the name mx.DOMAIN."""
        mx = WatchedMx(host=self.address(), tls=tls, extensions=extensions)
        mx.port = self.port
        await self.stack.enter_async_context(mx)
        self.port = mx.port
        self.servers[domain] = mx
        self.domain(domain, f"10 mx.{domain}.")
        self.dns.zone[f"mx.{domain}"] = {"A": [mx.host]}
        return mx

    def settings(self, **delivery: object) -> dict[str, dict[str, object]]:
        """Give the settings of a relay that sends here, with short pauses."""
        usual: dict[str, object] = {
            "mode": "mx",
            "nameservers": [f"127.0.0.1:{self.dns.port}"],
            "mx_port": self.port,
            "allow_private_hosts": True,
            "mta_sts": False,
            "retry_first_seconds": 0.2,
            "retry_max_seconds": 0.5,
            "pause_first_seconds": 0.1,
            "pause_max_seconds": 0.5,
        }
        return {"node": {"hostname": "relay.test"}, "delivery": usual | delivery}


@asynccontextmanager
async def mx_world(
    zone: Zone | None = None, signed: frozenset[str] = frozenset()
) -> AsyncIterator[MxWorld]:
    """Make a world with one server, of "good.test"."""
    async with AsyncExitStack() as stack:
        dns = await stack.enter_async_context(FakeDns(dict(zone or {}), signed=signed))
        world = MxWorld(dns, stack)
        await world.server("good.test")
        yield world


@dataclass
class Sender:
    """A relay in that world, and somebody who submits."""

    relay: RelayUnderTest

    async def submit(
        self,
        *recipients: str,
        sender: str = "news.test",
        fields: str = "",
        text: str = "Hello\r\n",
        together: bool = False,
    ) -> None:
        """Submit one mail for each recipient, or one for all together."""
        envelopes = [list(recipients)] if together else [[one] for one in recipients]
        await asyncio.to_thread(self._submit, envelopes, sender, fields, text)

    def _submit(self, envelopes: list[list[str]], sender: str, fields: str, text: str) -> None:
        with smtplib.SMTP(*self.relay.address("plain")) as smtp:
            for to in envelopes:
                mail = MAIL.format(to=to[0], sender=sender, fields=fields, text=text)
                utf8 = [] if "".join(to).isascii() else ["SMTPUTF8"]
                options = ["BODY=8BITMIME", *utf8]
                smtp.sendmail(f"news@{sender}", to, mail.encode(), options)

    async def stages(self) -> dict[str, str]:
        """Give the state of each recipient's delivery, by domain."""
        found: dict[str, str] = {}
        path = "/deliveries?limit=500"
        answer = await must(self.relay, "GET", path)
        for one in answer["items"]:
            found[one["recipient_domain"]] = one["state"]
        return found

    async def queue(self) -> list[dict[str, Any]]:
        """Give what waits, by destination."""
        return list((await must(self.relay, "GET", "/queue?limit=500"))["items"])

    async def recipient_becomes(self, recipient: str, state: str, seconds: float = 40.0) -> None:
        """Wait until the one delivery to a recipient has this state."""

        async def equal() -> bool:
            answer = await must(self.relay, "GET", f"/deliveries?recipient={quote(recipient)}")
            return [one["state"] for one in answer["items"]] == [state]

        await self.relay.until(equal, f"{recipient} to be {state}", seconds)

    async def story(self, domain: str, local: str = "a") -> list[dict[str, Any]]:
        """Give the events of the one delivery to LOCAL@domain."""
        recipient = quote(f"{local}@{domain}")
        answer = await must(self.relay, "GET", f"/deliveries?limit=500&recipient={recipient}")
        (one,) = answer["items"]
        told = await must(self.relay, "GET", f"/deliveries/{one['id']}")
        return list(told["events"])

    async def become(self, seconds: float = 40.0, **expected: str) -> None:
        """Wait until deliveries to domains (dots written as `_`) have these states."""
        wanted = {name.replace("_", "."): state for name, state in expected.items()}
        await self.stages_become(wanted, seconds)

    async def stages_become(self, wanted: dict[str, str], seconds: float = 40.0) -> None:
        """Wait until deliveries by domain have these states."""
        found: dict[str, str] = {}

        async def equal() -> bool:
            nonlocal found
            found = await self.stages()
            return wanted.items() <= found.items()

        try:
            await self.relay.until(equal, "deliveries to end as expected", seconds)
        except AssertionError as late:
            differ = {
                name: (found.get(name), state)
                for name, state in wanted.items()
                if found.get(name) != state
            }
            raise AssertionError(f"found, expected: {differ}\n{late}") from None


@asynccontextmanager
async def sender_in(
    world: MxWorld,
    folder: Path,
    *,
    workers: int = 1,
    over: Settings | None = None,
    provisioned: bool = False,
    **delivery: object,
) -> AsyncIterator[Sender]:
    """Run a relay that sends into the world; `provisioned` where it did so before."""
    settings = world.settings(**delivery)
    for section, values in (over or {}).items():
        settings.setdefault(section, {}).update(values)
    relay = RelayUnderTest(folder, settings=settings, workers=workers)
    async with relay:
        if not provisioned:
            await provision(relay, untracked=("news.test",), passwordless=True)
        yield Sender(relay)

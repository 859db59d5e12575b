"""A relay in front of a sink that takes everything, for tests that follow single mails through."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from relay.sandbox.reading import Reading, read
from relay.sandbox.sink import Sink
from tests.harness.provision import Tenant, must, provision
from tests.harness.relay_under_test import RelayUnderTest

LINK = "https://www.shop.test/a?x=1&y=2#z"
_PAGE = (
    "From: Shop <news@{domain}>\r\nTo: {to}\r\nSubject: {subject}\r\n{more}"
    "Content-Type: text/html\r\n\r\n"
    '<html><body><a href="https://www.shop.test/a?x=1&amp;y=2#z">a</a></body></html>\r\n'
)


@dataclass
class SinkRoute:
    """The relay, its tenant, and the sink behind it."""

    relay: RelayUnderTest
    tenant: Tenant
    sink: Sink

    async def send(
        self, to: str, *, domain: str = "news.test", campaign: str = "", subject: str = "Hi"
    ) -> bytes:
        """Submit one mail; give it as it arrived."""
        before = len(self.sink.bodies)
        await self.submit(to, domain=domain, campaign=campaign, subject=subject)
        return (await self.arrived(before + 1))[-1]

    async def arrived(self, count: int) -> list[bytes]:
        """Wait until the sink has so many messages in all; give them in their order."""

        async def enough() -> bool:
            return len(self.sink.bodies) >= count

        await self.relay.until(enough, f"{count} messages to arrive")
        return self.sink.bodies

    async def submit(
        self, to: str, *, domain: str = "news.test", campaign: str = "", subject: str = "Hi"
    ) -> None:
        """Submit one mail."""
        more = f"X-Waypost-Campaign: {campaign}\r\n" if campaign else ""
        content = _PAGE.format(to=to, domain=domain, subject=subject, more=more)
        await asyncio.to_thread(self._submit, f"news@{domain}", to, content)

    def _submit(self, sender: str, to: str, content: str) -> None:
        host, port = self.relay.address("plain")
        with smtplib.SMTP(host, port) as smtp:
            smtp.sendmail(sender, [to], content)

    async def reading(self, to: str, **how: str) -> Reading:
        """Submit one mail; give what a mail program finds in it."""
        return read(await self.send(to, **how))

    async def hand_back(self, to: str, content: bytes) -> tuple[int, bytes]:
        """Hand a mail to the inbound door, with an empty sender; give the last reply."""
        host, port = self.relay.address("inbound")

        def talk() -> tuple[int, bytes]:
            with smtplib.SMTP(host, port) as smtp:
                smtp.ehlo("mx.inbox.test")
                smtp.mail("")
                code, said = smtp.rcpt(to)
                return smtp.data(content) if code == 250 else (code, said)

        return await asyncio.to_thread(talk)

    async def get(
        self, url: str, *, times: int = 1, headers: Mapping[str, str] | None = None
    ) -> set[tuple[int, str]]:
        """Ask, on a new connection each time; give the statuses and locations seen."""
        seen = set()
        for _ in range(times):
            async with (
                aiohttp.ClientSession() as session,
                session.get(url, allow_redirects=False, headers=headers) as answer,
            ):
                seen.add((answer.status, answer.headers.get("Location", "")))
        return seen

    async def unsubscribe(self, url: str) -> int:
        """Unsubscribe by one click (RFC 8058); give the status."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, data={"List-Unsubscribe": "One-Click"}) as answer,
        ):
            return answer.status

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask the API; it must say yes."""
        return await must(self.relay, method, path, body)

    async def stats(self, domain: str, *measures: str) -> dict[str, Any]:
        """Ask for measures of a domain."""
        query = "&".join(f"measures={name}" for name in measures)
        answer = await self.ask("GET", f"/domains/{domain}/stats?{query}")
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
async def sink_route(
    folder: Path,
    *,
    tracked: tuple[str, ...] = ("news.test",),
    environment: Mapping[str, str] | None = None,
    workers: int = 2,
    passwordless: bool = True,
    **settings: dict[str, object],
) -> AsyncIterator[SinkRoute]:
    """Run a relay whose next hop is a sink; `settings` by section go over the harness's own."""
    sink = Sink()
    host, port = await sink.start()
    delivery = {"mode": "smarthost", "smarthost": f"{host}:{port}", "smarthost_tls": "none"}
    merged = {**settings, "delivery": {**delivery, **settings.get("delivery", {})}}
    relay = RelayUnderTest(folder, settings=merged, environment=environment, workers=workers)
    try:
        async with relay:
            tenant = await provision(relay, tracked=tracked, passwordless=passwordless)
            yield SinkRoute(relay, tenant, sink)
    finally:
        await sink.close()

"""A domain with MTA-STS and DANE: its DNS, its policy server, and a look-up that asks them.

Certificates come from an authority made at run time; the policy server speaks real HTTPS.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trustme
from aiohttp import web

from relay.delivery.mx.lookup import MxHosts
from relay.delivery.mx.policy import TlsPolicies
from relay.delivery.mx.resolver import Resolver, ResolverSettings
from relay.delivery.mx.sts import HttpsFetch, StsPolicies
from relay.delivery.outgoing import Problem, Verdict
from relay.delivery.route import Route
from relay.delivery.tls import TlsContexts, TlsCounts
from tests.harness.fake_dns import FakeDns, Zone
from tests.harness.outbound import MakeTransport, mail_to
from tests.harness.scripted_mx import ScriptedMx

POLICY = "version: STSv1\nmode: enforce\nmx: mx.inbox.test\nmax_age: 86400\n"


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """Give a server context with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def client_context(ca: trustme.CA) -> ssl.SSLContext:
    """Give a client context that trusts the authority."""
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


def zone_with(records: dict[str, list[str]] | None = None, policy_id: str = "1") -> Zone:
    """Give a domain with one MX and an MTA-STS record; `records` are the TLSA records."""
    zone: Zone = {
        "inbox.test": {"MX": ["10 mx.inbox.test."]},
        "mx.inbox.test": {"A": ["127.0.0.1"]},
        "mta-sts.inbox.test": {"A": ["127.0.0.1"]},
        "_mta-sts.inbox.test": {"TXT": [f'"v=STSv1; id={policy_id};"']},
    }
    return zone | {name: {"TLSA": texts} for name, texts in (records or {}).items()}


@dataclass
class PolicyServer:
    """An HTTPS server for policies; `texts` and `locations` are those of single domains."""

    text: str = POLICY
    texts: dict[str, str] = field(default_factory=dict)
    locations: dict[str, str] = field(default_factory=dict)
    status: int = 200
    location: str = ""
    asked: list[str] = field(default_factory=list)
    port: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        """Answer as told."""
        self.asked.append(request.path)
        domain = request.host.partition(":")[0].removeprefix("mta-sts.")
        location = self.locations.get(domain, self.location)
        headers = {"Location": location} if location else {}
        status = 302 if domain in self.locations else self.status
        text = self.texts.get(domain, self.text)
        return web.Response(text=text, status=status, headers=headers)


@asynccontextmanager
async def policy_server(ca: trustme.CA, *names: str) -> AsyncIterator[PolicyServer]:
    """Serve policies under a certificate for `names`, usually that of inbox.test."""
    server = PolicyServer()
    certificate = ca.issue_cert(*(names or ("mta-sts.inbox.test",)))
    app = web.Application()
    app.router.add_get("/{tail:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context(certificate))
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()


@dataclass
class World:
    """A domain with its DNS, its policy server and what looks at them."""

    dns: FakeDns
    https: PolicyServer
    resolver: Resolver
    sts: StsPolicies
    now: float = 0.0


@asynccontextmanager
async def world(
    ca: trustme.CA,
    zone: Zone,
    *,
    name: str = "mta-sts.inbox.test",
    signed: frozenset[str] = frozenset(),
) -> AsyncIterator[World]:
    """Make one."""
    async with FakeDns(zone, signed=signed) as dns, policy_server(ca, name) as https:
        settings = ResolverSettings(
            nameservers=("127.0.0.1",),
            port=dns.port,
            validates=True,
            try_seconds=5.0,
            lifetime=20.0,
            least_ttl=0.0,
            most_ttl=0.0,
            denial_seconds=0.0,
            trouble_seconds=0.0,
        )
        resolver = Resolver(settings)
        fetch = HttpsFetch(
            resolver, context=client_context(ca), port=https.port, allow_private=True, seconds=5
        )
        made = World(dns, https, resolver, StsPolicies(resolver, fetch, clock=lambda: made.now))
        yield made


async def deliver(
    make: MakeTransport, ca: trustme.CA, w: World, mx: ScriptedMx, counts: TlsCounts
) -> tuple[Verdict, Problem | None, str, str]:
    """Send one mail by MX; give verdict, problem, enhanced code and TLS version."""
    hosts = MxHosts(
        resolver=w.resolver,
        policies=TlsPolicies(resolver=w.resolver, sts=w.sts, port=mx.port),
        allow_private=True,
        port=mx.port,
    )
    transport = make(hosts=hosts, contexts=TlsContexts(client_context(ca)), counts=counts)
    outcome = await transport.deliver(Route(destination="inbox.test"), mail_to)
    return outcome.verdict, outcome.problem, outcome.enhanced, outcome.tls

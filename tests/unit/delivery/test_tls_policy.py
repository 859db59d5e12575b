"""MTA-STS and DANE: what a domain publishes decides whether mail may go (N08, S11)."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
import trustme
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from relay.delivery.dane import certificate_matches, is_usable
from relay.delivery.mx.lookup import MxHosts
from relay.delivery.mx.policy import TlsPolicies
from relay.delivery.mx.resolver import Resolver, ResolverSettings
from relay.delivery.mx.sts import HttpsFetch, StsError, StsPolicies, StsPolicy, read_policy
from relay.delivery.outgoing import Problem, Verdict
from relay.delivery.route import Route, TlsaRecord
from relay.delivery.tls import TlsContexts, TlsCounts
from tests.harness.fake_dns import FakeDns, Zone
from tests.harness.outbound import MakeTransport, mail_to
from tests.harness.scripted_mx import Act, ScriptedMx

POLICY = "version: STSv1\nmode: enforce\nmx: mx.inbox.test\nmax_age: 86400\n"


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    """Make the authority once."""
    return trustme.CA()


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
    """An HTTPS server for policies."""

    text: str = POLICY
    status: int = 200
    location: str = ""
    asked: list[str] = field(default_factory=list)
    port: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        """Answer as told."""
        self.asked.append(request.path)
        headers = {"Location": self.location} if self.location else {}
        return web.Response(text=self.text, status=self.status, headers=headers)


@asynccontextmanager
async def policy_server(
    ca: trustme.CA, name: str = "mta-sts.inbox.test"
) -> AsyncIterator[PolicyServer]:
    """Serve policies under a certificate for `name`."""
    server = PolicyServer()
    app = web.Application()
    app.router.add_get("/{tail:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context(ca.issue_cert(name)))
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


# -- MTA-STS ---------------------------------------------------------------------------------


def test_a_policy_is_read_as_written() -> None:
    """RFC 8461 section 3.2, with blank lines, CRLF and unknown keys."""
    text = (
        "version: STSv1\r\nmode: testing\r\nmx: A.test\r\nmx: *.b.test.\r\nx: y\r\nmax_age: 10\r\n"
    )
    policy = read_policy(text)
    assert policy == StsPolicy(mode="testing", max_age=10, hosts=("a.test", "*.b.test"))
    assert policy.allows("a.test.")
    assert policy.allows("X.b.test")
    assert not policy.allows("b.test")
    assert not policy.allows("x.y.b.test")
    assert not policy.allows("evil-a.test")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mode: enforce\nmx: a\nmax_age: 1",
        "version: STSv1\nmode: maybe\nmx: a\nmax_age: 1",
        "version: STSv1\nmode: enforce\nmax_age: 1",
        "version: STSv1\nmode: enforce\nmx: a\nmax_age: -1",
        "version: STSv1\nmode: enforce\nmx: a\nmax_age: ²",
        "version: STSv1\nmode: enforce\nmx: a\nmax_age: 99999999999",
    ],
)
def test_a_broken_policy_is_none(text: str) -> None:
    """What cannot be read asks nothing and raises only the declared error."""
    with pytest.raises(StsError):
        read_policy(text)


def test_a_huge_max_age_is_cut_to_a_year() -> None:
    """N08."""
    assert read_policy(POLICY.replace("86400", "9999999999")).max_age == 31_557_600


async def test_a_policy_is_fetched_once_and_again_when_its_id_changes(ca: trustme.CA) -> None:
    """The TXT record says whether there is something new; it is looked at every five minutes."""
    async with world(ca, zone_with()) as w:
        for _ in range(3):
            policy = await w.sts.policy("inbox.test")
            assert policy is not None
            assert policy.mode == "enforce"
        w.now = 301.0
        await w.sts.policy("inbox.test")
        assert w.https.asked == ["/.well-known/mta-sts.txt"]
        w.dns.zone |= zone_with(policy_id="2")
        w.https.text = POLICY.replace("enforce", "testing")
        w.now = 602.0
        changed = await w.sts.policy("inbox.test")
        assert changed is not None
        assert changed.mode == "testing"


FAILS: dict[str, dict[str, object]] = {
    "too long": {"text": POLICY + "x" * 70_000},
    "redirect": {"status": 302, "location": "https://elsewhere.test/"},
    "missing": {"status": 404},
    "nonsense": {"text": "<html>"},
}


@pytest.mark.parametrize("fault", FAILS)
async def test_a_failed_fetch_changes_nothing(ca: trustme.CA, fault: str) -> None:
    """N08: no policy where none was known; the old one stays in force where one was."""
    async with world(ca, zone_with()) as w:
        for key, value in FAILS[fault].items():
            setattr(w.https, key, value)
        assert await w.sts.policy("inbox.test") is None
        assert len(w.https.asked) == 1
    async with world(ca, zone_with()) as w:
        assert await w.sts.policy("inbox.test") is not None
        w.dns.zone |= zone_with(policy_id="2")
        for key, value in FAILS[fault].items():
            setattr(w.https, key, value)
        w.now = 301.0
        kept = await w.sts.policy("inbox.test")
        assert kept is not None
        assert kept.mode == "enforce"
        del w.dns.zone["_mta-sts.inbox.test"]
        w.now = 1000.0
        assert await w.sts.policy("inbox.test") is not None
        w.now = 90_000.0  # max_age is over
        assert await w.sts.policy("inbox.test") is None


async def test_the_policy_host_needs_a_certificate_for_its_name(ca: trustme.CA) -> None:
    """N08: a wrong certificate is no policy."""
    async with world(ca, zone_with(), name="other.test") as w:
        assert await w.sts.policy("inbox.test") is None
        assert w.https.asked == []


async def test_a_policy_host_with_a_private_address_is_not_connected_to(ca: trustme.CA) -> None:
    """The fetch is no way into the own network either."""
    async with world(ca, zone_with()) as w:
        fetch = HttpsFetch(w.resolver, context=client_context(ca), port=w.https.port)
        with pytest.raises(StsError):
            await fetch("inbox.test")
        assert w.https.asked == []


@pytest.mark.parametrize("record", ['"v=STSv1"', '"v=STSv2; id=1"', '"v=STSv1; id=a b"', '"x"'])
async def test_a_broken_record_is_no_record(ca: trustme.CA, record: str) -> None:
    """Only a well-formed record leads to a fetch."""
    zone = zone_with() | {"_mta-sts.inbox.test": {"TXT": [record]}}
    async with world(ca, zone) as w:
        assert await w.sts.policy("inbox.test") is None
        assert w.https.asked == []


# -- what it does to mail --------------------------------------------------------------------


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


@pytest.mark.parametrize("mode", ["enforce", "testing", "none"])
@pytest.mark.parametrize("server", ["good", "wrong name", "no tls", "broken"])
async def test_the_mode_decides(
    make_transport: MakeTransport, ca: trustme.CA, mode: str, server: str
) -> None:
    """Enforce never sends in the clear nor to a wrong name; testing and none never stand in the
    way.
    """
    name = "other.test" if server == "wrong name" else "mx.inbox.test"
    context = None if server == "no tls" else server_context(ca.issue_cert(name))
    counts = TlsCounts()
    async with world(ca, zone_with()) as w, ScriptedMx(tls=context) as mx:
        w.https.text = POLICY.replace("enforce", mode)
        if server == "broken":
            mx.answer(tls=Act.GARBAGE)
        verdict, problem, enhanced, tls = await deliver(make_transport, ca, w, mx, counts)
        if mode == "enforce" and server != "good":
            assert (verdict, problem, enhanced) == (Verdict.RETRY, Problem.TLS, "4.7.5")
            assert mx.messages == []
            [(domain, policy, result)] = counts.counts
            assert (domain, policy) == ("inbox.test", "sts")
            assert result != "success"
        else:
            assert verdict is Verdict.DELIVERED
            assert bool(tls) == (server in ("good", "wrong name"))


async def test_a_host_outside_the_policy_gets_nothing(
    make_transport: MakeTransport, ca: trustme.CA
) -> None:
    """N08: an MX that the policy does not name is not used; mail waits."""
    async with world(ca, zone_with()) as w, ScriptedMx() as mx:
        w.https.text = POLICY.replace("mx.inbox", "mx.other")
        got = await deliver(make_transport, ca, w, mx, TlsCounts())
        assert got[:3] == (Verdict.RETRY, Problem.DNS, "4.7.5")
        assert mx.sessions == 0


# -- DANE ------------------------------------------------------------------------------------


def tlsa_of(der: bytes, *, usage: int = 3, selector: int = 1, matching: int = 1) -> TlsaRecord:
    """Make the record for a certificate."""
    data = der
    if selector == 1:
        key = x509.load_der_x509_certificate(der).public_key()
        data = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if matching:
        data = hashlib.new({1: "sha256", 2: "sha512"}[matching], data).digest()
    return TlsaRecord(usage=usage, selector=selector, matching=matching, data=data)


def der_of(certificate: trustme.LeafCert) -> bytes:
    """Give a leaf certificate as DER."""
    return ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())


@pytest.mark.parametrize("usage", [2, 3])
@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
def test_records_match_their_certificate(usage: int, selector: int, matching: int) -> None:
    """Every usable kind of record, against the right chain and a stranger's."""
    ca, stranger = trustme.CA(), trustme.CA()
    leaf, foreign = ca.issue_cert("mx.inbox.test"), stranger.issue_cert("mx.inbox.test")
    root = ssl.PEM_cert_to_DER_cert(ca.cert_pem.bytes().decode())
    other = ssl.PEM_cert_to_DER_cert(stranger.cert_pem.bytes().decode())
    subject = root if usage == 2 else der_of(leaf)
    record = tlsa_of(subject, usage=usage, selector=selector, matching=matching)
    assert is_usable(record)
    assert certificate_matches([record], [der_of(leaf), root], "mx.inbox.test")
    assert not certificate_matches([record], [der_of(foreign), other], "mx.inbox.test")
    assert not certificate_matches([record], [], "mx.inbox.test")
    wrong_name = certificate_matches([record], [der_of(leaf), root], "other.test")
    assert wrong_name == (usage == 3)  # RFC 7672 section 3.1.1: usage 3 looks at no name
    expired = datetime(3001, 1, 1, tzinfo=UTC)
    late = certificate_matches([record], [der_of(leaf), root], "mx.inbox.test", at=expired)
    assert late == (usage == 3)


@pytest.mark.parametrize(
    "record",
    [
        TlsaRecord(usage=1, selector=1, matching=1, data=b"x" * 32),
        TlsaRecord(usage=3, selector=2, matching=1, data=b"x" * 32),
        TlsaRecord(usage=3, selector=1, matching=3, data=b"x" * 32),
        TlsaRecord(usage=3, selector=1, matching=1, data=b"x" * 31),
        TlsaRecord(usage=3, selector=0, matching=0, data=b""),
    ],
)
def test_unusable_records(record: TlsaRecord) -> None:
    """RFC 7672 section 2.2: anything else does not count as usable, and matches nothing."""
    assert not is_usable(record)
    assert not certificate_matches([record], [b"not a certificate"], "mx.inbox.test")


SIGNED = frozenset({"inbox.test", "mx.inbox.test"})
DANE_CASES = [
    # records, signed TLSA, server, delivered, over TLS
    ("match", True, "self-signed", True, True),
    ("mismatch", True, "self-signed", False, False),
    ("match", True, "no tls", False, False),
    ("unusable", True, "self-signed", True, True),
    ("unusable", True, "no tls", False, False),
    ("mismatch", False, "self-signed", True, True),  # not validated: does not count
    ("none", True, "no tls", True, False),
    ("bogus", True, "no tls", False, False),
]


@pytest.mark.parametrize(("records", "signed", "server", "delivered", "over_tls"), DANE_CASES)
async def test_dane_decides(
    make_transport: MakeTransport,
    ca: trustme.CA,
    records: str,
    server: str,
    *,
    signed: bool,
    delivered: bool,
    over_tls: bool,
) -> None:
    """RFC 7672: validated records mean TLS with that certificate, a bogus answer means waiting."""
    leaf = trustme.CA().issue_cert("whatever.test")
    context = server_context(leaf) if server == "self-signed" else None
    counts = TlsCounts()
    async with ScriptedMx(tls=context) as mx:
        name = f"_{mx.port}._tcp.mx.inbox.test"
        data = {
            "match": hashlib.sha256(der_of(leaf)).hexdigest(),
            "mismatch": "00" * 32,
            "unusable": "00" * 32,
        }.get(records)
        usage = 1 if records == "unusable" else 3
        zone = zone_with({name: [f"{usage} 0 1 {data}"]} if data else {})
        del zone["_mta-sts.inbox.test"]
        if records == "bogus":
            zone["inbox.test"] = {"MX": ["10 mx.inbox.test."]}
        names = SIGNED | ({name} if signed else frozenset())
        async with world(ca, zone, signed=names) as w:
            if records == "bogus":
                w.dns.broken_names.add(name)
            got = await deliver(make_transport, ca, w, mx, counts)
    assert (got[0] is Verdict.DELIVERED) == delivered
    assert bool(got[3]) == over_tls
    if not delivered:
        assert got[0] is Verdict.RETRY
        assert mx.messages == []
    if records == "mismatch" and signed:
        assert counts.counts["inbox.test", "tlsa", "tlsa-invalid"] == 1

"""TLS towards the next hop: levels, fallback, what is forgotten (S11, S13)."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
import trustme

from relay.delivery.failed import Failed
from relay.delivery.outgoing import Problem, Stage, Verdict
from relay.delivery.route import Target, TlsLevel
from relay.delivery.tls import TlsContexts, TlsCounts
from tests.harness.outbound import MakeTransport, mail_to, route_to
from tests.harness.scripted_mx import Act, Answer, ScriptedMx


@dataclass
class Authority:
    """A certificate authority made for this test run."""

    ca: trustme.CA

    def server(self, *names: str, until: datetime | None = None) -> ssl.SSLContext:
        """Give a server context with a certificate for these names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*names, not_after=until).configure_cert(context)
        return context

    def client(self) -> ssl.SSLContext:
        """Give a client context that trusts the authority."""
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        return context


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Make the authority once."""
    return Authority(trustme.CA())


LEVELS = [TlsLevel.OPPORTUNISTIC, TlsLevel.REQUIRED, TlsLevel.VERIFIED]


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
async def test_mail_goes_over_tls_where_it_works(
    make_transport: MakeTransport, authority: Authority, level: TlsLevel
) -> None:
    """A good certificate satisfies every level."""
    transport = make_transport(contexts=TlsContexts(authority.client()))
    async with ScriptedMx(tls=authority.server("localhost")) as mx:
        outcome = await transport.deliver(route_to(mx, level, host="localhost"), mail_to)
    assert outcome.verdict is Verdict.DELIVERED
    assert outcome.tls.startswith("TLSv1.")
    assert mx.messages[0].tls == outcome.tls
    assert "TLS established" in outcome.transcript


async def test_level_none_does_not_ask(make_transport: MakeTransport, authority: Authority) -> None:
    """TLS that is offered is not taken at level none."""
    async with ScriptedMx(tls=authority.server("localhost")) as mx:
        outcome = await make_transport().deliver(route_to(mx, TlsLevel.NONE), mail_to)
    assert (outcome.verdict, outcome.tls) == (Verdict.DELIVERED, "")
    assert b"STARTTLS" not in mx.commands


async def test_implicit_tls(make_transport: MakeTransport, authority: Authority) -> None:
    """Port 465 talks TLS from the first byte, with a verified name."""
    transport = make_transport(contexts=TlsContexts(authority.client()))
    async with ScriptedMx(tls=authority.server("localhost"), implicit_tls=True) as mx:
        route = route_to(mx, TlsLevel.VERIFIED, host="localhost", implicit_tls=True)
        outcome = await transport.deliver(route, mail_to)
    assert outcome.verdict is Verdict.DELIVERED
    assert outcome.tls.startswith("TLSv1.")


FAULTS: dict[str, dict[str, Answer | list[Answer]]] = {
    "refused": {"starttls": "454 4.7.0 not now"},
    "garbage": {"tls": Act.GARBAGE},
    "closed": {"tls": Act.DROP},
    "closed right after": {"after_tls": Act.DROP},
    "stalled": {"tls": Act.STALL},
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_opportunistic_tls_falls_back_to_the_clear(
    make_transport: MakeTransport, authority: Authority, fault: str
) -> None:
    """Whatever is wrong with TLS, mail that may go in the clear arrives, at the first attempt."""
    counts = TlsCounts()
    transport = make_transport(handshake_seconds=0.2, counts=counts)
    async with ScriptedMx(tls=authority.server("localhost")) as mx:
        mx.answer(**FAULTS[fault])
        outcome = await transport.deliver(route_to(mx), mail_to)
        assert (outcome.verdict, outcome.tls) == (Verdict.DELIVERED, "")
        if fault == "refused":
            assert mx.sessions == 1
            return
        assert mx.sessions == 2
        assert counts.counts["inbox.test", "no-policy-found", "validation-failure"] == 1
        transport.pool.close()
        again = await transport.deliver(route_to(mx), mail_to)
    assert again.verdict is Verdict.DELIVERED
    assert mx.sessions == 3  # remembered: no second failed handshake


@pytest.mark.parametrize("level", [TlsLevel.REQUIRED, TlsLevel.VERIFIED], ids=lambda v: v.name)
@pytest.mark.parametrize("fault", FAULTS)
async def test_the_higher_levels_never_send_in_the_clear(
    make_transport: MakeTransport, authority: Authority, fault: str, level: TlsLevel
) -> None:
    """The same faults put mail off that must not go in the clear."""
    transport = make_transport(
        handshake_seconds=0.2, contexts=TlsContexts(authority.client()), counts=TlsCounts()
    )
    async with ScriptedMx(tls=authority.server("localhost")) as mx:
        mx.answer(**FAULTS[fault])
        outcome = await transport.deliver(route_to(mx, level, host="localhost"), mail_to)
    assert outcome.verdict is Verdict.RETRY
    assert outcome.problem is Problem.TLS
    assert mx.messages == []
    assert not any(line.startswith(b"MAIL") for line in mx.commands)


async def test_no_starttls_offered_at_level_required(make_transport: MakeTransport) -> None:
    """A host that does not offer TLS gets nothing that needs it."""
    counts = TlsCounts()
    async with ScriptedMx() as mx:
        transport = make_transport(counts=counts)
        outcome = await transport.deliver(route_to(mx, TlsLevel.REQUIRED), mail_to)
    assert (outcome.verdict, outcome.problem) == (Verdict.RETRY, Problem.TLS)
    assert outcome.stage is Stage.STARTTLS
    assert outcome.enhanced == "4.7.5"
    assert counts.counts["inbox.test", "no-policy-found", "starttls-not-supported"] == 1


async def test_a_wrong_name_and_an_unknown_authority(
    make_transport: MakeTransport, authority: Authority
) -> None:
    """Only the verified level minds, and says what was wrong in the words of RFC 8460."""
    stranger = Authority(trustme.CA())
    cases = [
        (authority.server("other.test"), "certificate-host-mismatch"),
        (stranger.server("localhost"), "certificate-not-trusted"),
        (
            authority.server("localhost", until=datetime(2020, 1, 1, tzinfo=UTC)),
            "certificate-expired",
        ),
    ]
    for server, result in cases:
        counts = TlsCounts()
        transport = make_transport(contexts=TlsContexts(authority.client()), counts=counts)
        async with ScriptedMx(tls=server) as mx:
            route = route_to(mx, TlsLevel.VERIFIED, host="localhost")
            outcome = await transport.deliver(route, mail_to)
            assert (outcome.verdict, outcome.problem) == (Verdict.RETRY, Problem.TLS)
            assert counts.counts["inbox.test", "no-policy-found", result] == 1
            route = route_to(mx, TlsLevel.REQUIRED, host="localhost")
            assert (await transport.deliver(route, mail_to)).verdict is Verdict.DELIVERED


async def test_only_what_is_offered_under_tls_counts(
    make_transport: MakeTransport, authority: Authority
) -> None:
    """S13: extensions named before TLS are forgotten."""
    async with ScriptedMx(
        tls=authority.server("localhost"), after_tls=("ENHANCEDSTATUSCODES",)
    ) as mx:
        outcome = await make_transport().deliver(route_to(mx), lambda: mail_to(eightbit=True))
        utf8 = await make_transport().deliver(
            route_to(mx), lambda: mail_to("jörg@inbox.test", utf8=True)
        )
    assert outcome.verdict is Verdict.DELIVERED
    assert mx.messages[0].mail == b"MAIL FROM:<b+token@bounce.test>"
    assert (utf8.verdict, utf8.enhanced) == (Verdict.BOUNCED, "5.6.7")


async def test_replies_injected_before_tls_end_the_session(
    make_transport: MakeTransport, authority: Authority
) -> None:
    """Text behind the answer to STARTTLS came in the clear and is not believed (RFC 3207 section
    4.2).
    """
    async with ScriptedMx(tls=authority.server("localhost")) as mx:
        mx.answer(starttls=b"220 go ahead\r\n250-mx.test\r\n250 AUTH PLAIN\r\n")
        route = route_to(mx, TlsLevel.REQUIRED)
        outcome = await make_transport().deliver(route, mail_to)
    assert (outcome.verdict, outcome.problem) == (Verdict.RETRY, Problem.TLS)
    assert "not given yet" in outcome.error
    assert mx.messages == []


def test_failures_are_forgotten_in_time_and_bounded() -> None:
    """The memory of failed hosts ends by itself."""
    now = 0.0
    broken = Failed(seconds=10, clock=lambda: now)
    target = Target(name="a.test", address="192.0.2.1")
    broken.remember(target)
    assert broken.knows(target)
    now = 11.0
    assert not broken.knows(target)
    for number in range(10_100):
        broken.remember(Target(name="x", address=f"{number}"))
    assert not broken.knows(Target(name="x", address="0"))
    assert broken.knows(Target(name="x", address="10099"))

"""The hosts of a domain against a DNS server that misbehaves by name (N01 to N07)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from relay.delivery.mx.cache import Cache
from relay.delivery.mx.guard import is_public
from relay.delivery.mx.lookup import MxHosts
from relay.delivery.mx.resolver import (
    DnsTroubleError,
    NoSuchNameError,
    Resolver,
    ResolverSettings,
)
from relay.delivery.outgoing import Problem, Verdict
from relay.delivery.route import NoHostsError, Route
from tests.harness.fake_dns import FakeDns, Zone
from tests.harness.outbound import Jobs, MakeTransport, mail_to
from tests.harness.scripted_mx import Act, ScriptedMx

ZONE: Zone = {
    "inbox.test": {"MX": ["20 b.inbox.test.", "10 a1.inbox.test.", "10 a2.inbox.test."]},
    "a1.inbox.test": {"A": ["198.18.0.1"]},
    "a2.inbox.test": {"A": ["8.8.4.1", "8.8.4.2"], "AAAA": ["2600::1"]},
    "b.inbox.test": {"A": ["8.8.4.9"]},
    "public.test": {"MX": ["10 a2.inbox.test.", "20 b.inbox.test."]},
    "implicit.test": {"A": ["8.8.4.3"]},
    "nothing.test": {"TXT": ['"no address"']},
    "null.test": {"MX": ["0 ."], "A": ["8.8.4.4"]},
    "forged.test": {"MX": ["10 a2.inbox.test."]},
    "truncate.test": {"MX": ["10 a2.inbox.test."]},
    "tcprefuse.test": {"MX": ["10 a2.inbox.test."]},
    "alias.test": {"MX": ["10 www.alias.test."]},
    "www.alias.test": {"CNAME": ["b.inbox.test."]},
    "gone.test": {"MX": ["10 nowhere.test."]},
    "half.test": {"MX": ["10 nowhere.test.", "20 b.inbox.test."]},
    "halfsick.test": {"MX": ["10 x.servfail.test."]},
    "self.test": {"MX": ["10 relay.test.", "20 b.inbox.test."]},
    "selfip.test": {"MX": ["10 me.test."]},
    "me.test": {"A": ["8.8.7.7"]},
    "middle.test": {
        "MX": ["10 a2.inbox.test.", "20 relay.test.", "20 b.inbox.test.", "30 c.test."]
    },
    "many.test": {"MX": [f"{n % 50} h{n}.many.test." for n in range(300)]},
    **{
        f"h{n}.many.test": {"A": [f"8.{n // 200}.{n % 200}.{k}" for k in range(50)]}
        for n in range(300)
    },
}
PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.0.1",
    "169.254.169.254",
    "0.0.0.0",  # noqa: S104  # an address to refuse, nothing is bound to it
    "100.64.0.1",
    "224.0.0.1",
    "192.0.2.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fc00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "2002:7f00:1::",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "localhost",
    "",
]


@pytest.fixture
async def dns() -> AsyncIterator[FakeDns]:
    """Serve the zone."""
    async with FakeDns(ZONE) as server:
        yield server


def resolver_for(dns: FakeDns, **settings: object) -> Resolver:
    """Give a resolver; its limits are generous, so that a busy machine fails no test."""
    wanted: dict[str, object] = {"try_seconds": 5.0, "lifetime": 20.0} | settings
    return Resolver(
        ResolverSettings(nameservers=("127.0.0.1",), port=dns.port, **wanted)  # type: ignore[arg-type]
    )


NO_ANSWER = {"try_seconds": 0.1, "lifetime": 0.25}  # for names that are never answered


def hosts_for(dns: FakeDns, **options: object) -> MxHosts:
    """Give the look-up under test."""
    resolver = options.pop("resolver", None) or resolver_for(dns)
    wanted: dict[str, object] = {
        "own_names": frozenset({"relay.test"}),
        "own_addresses": frozenset({"8.8.7.7"}),
        "chance": random.Random(1),  # noqa: S311  # a shuffle that repeats
    } | options
    return MxHosts(resolver=resolver, **wanted)  # type: ignore[arg-type]


async def found(dns: FakeDns, domain: str, **options: object) -> list[tuple[str, str]]:
    """Give names and addresses of the targets."""
    targets = await hosts_for(dns, **options).targets(Route(destination=domain))
    return [(target.name, target.address) for target in targets]


async def test_hosts_come_in_order_of_preference(dns: FakeDns) -> None:
    """Preference first, then the addresses of each host; IPv4 before IPv6."""
    got = await found(dns, "public.test")
    assert {got[0][1], got[1][1]} == {"8.8.4.1", "8.8.4.2"}
    assert got[2:] == [("a2.inbox.test", "2600::1"), ("b.inbox.test", "8.8.4.9")]


async def test_equal_preference_is_shuffled(dns: FakeDns) -> None:
    """RFC 5321 section 5.1: load is spread over hosts of one preference."""
    hosts = hosts_for(dns, allow_private=True)
    firsts = set()
    for _ in range(40):
        targets = await hosts.targets(Route(destination="inbox.test"))
        firsts.add(targets[0].name)
        assert targets[-1].name == "b.inbox.test"
    assert firsts == {"a1.inbox.test", "a2.inbox.test"}


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("implicit.test", [("implicit.test", "8.8.4.3")]),
        ("alias.test", [("www.alias.test", "8.8.4.9")]),
        ("half.test", [("b.inbox.test", "8.8.4.9")]),
        ("truncate.test", "a2"),
        ("forged.test", "a2"),
        ("middle.test", "a2"),
        ("INBOX.TEST.", "a2"),
    ],
)
async def test_what_still_finds_hosts(
    dns: FakeDns, domain: str, expected: list[tuple[str, str]] | str
) -> None:
    """N01, N03, N05: implicit MX, alias, half a list, TCP, forged packets first, own host in the
    middle.
    """
    got = await found(dns, domain)
    if expected == "a2":
        assert got[0][0] == "a2.inbox.test"
        assert ("203.0.113.66", "c.test") not in {(address, name) for name, address in got}
    else:
        assert got == expected
    if domain == "middle.test":
        assert {name for name, _ in got} == {"a2.inbox.test"}


@pytest.mark.parametrize(
    ("domain", "enhanced", "permanent"),
    [
        ("no-such.test", "5.1.2", True),
        ("null.test", "5.1.10", True),
        ("nothing.test", "5.4.4", True),
        ("gone.test", "5.4.4", True),
        ("self.test", "5.4.6", True),
        ("selfip.test", "5.4.6", True),
        ("servfail.test", "4.4.3", False),
        ("refused.test", "4.4.3", False),
        ("silent.test", "4.4.3", False),
        ("tcprefuse.test", "4.4.3", False),
        ("rubbish.test", "4.4.3", False),
        ("loop.test", "4.4.3", False),
        ("halfsick.test", "4.4.3", False),
        ("x" * 64 + ".test", "5.1.2", True),
        (".".join(["x" * 60] * 5), "5.1.2", True),
        ("a..test", "5.1.2", True),
        ("a b.test", "5.1.2", True),
        ("a%00.test", "5.1.2", True),
        ("a\0.test", "5.1.2", True),
        ("bücher.test", "5.1.2", True),
        ("", "5.1.2", True),
        ("xn--" + "9" * 50 + ".test", "5.1.2", True),
    ],
)
async def test_what_finds_no_hosts(
    dns: FakeDns, domain: str, enhanced: str, *, permanent: bool
) -> None:
    """N01, N02, N03, N05, N06: permanent only where DNS said so; nobody's silence bounces mail."""
    silent = domain.split(".")[0] in ("silent", "rubbish", "loop", "tcprefuse")
    resolver = resolver_for(dns, **(NO_ANSWER if silent else {}))
    with pytest.raises(NoHostsError) as caught:
        await found(dns, domain, resolver=resolver)
    assert (caught.value.enhanced, caught.value.permanent) == (enhanced, permanent)


@pytest.mark.parametrize("address", PRIVATE)
async def test_private_addresses_are_refused(address: str) -> None:
    """N03: no connection goes inwards; the option for tests lifts it."""
    assert not is_public(address)
    if not address or address == "localhost":
        return
    kind = "AAAA" if ":" in address else "A"
    async with FakeDns(
        {"in.test": {"MX": ["10 mx.in.test."]}, "mx.in.test": {kind: [address]}}
    ) as dns:
        with pytest.raises(NoHostsError) as caught:
            await found(dns, "in.test")
        assert (caught.value.enhanced, caught.value.permanent) == ("5.4.4", True)
        assert await found(dns, "in.test", allow_private=True)


@pytest.mark.parametrize("address", ["8.8.8.8", "2600::1", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_public(address: str) -> None:
    """The guard lets the internet through."""
    assert is_public(address)


async def test_a_huge_answer_is_cut(dns: FakeDns) -> None:
    """N04: 300 hosts with 50 addresses each come down to 20 hosts with 10 addresses."""
    got = await found(dns, "many.test")
    assert len({name for name, _ in got}) == 20
    assert len(got) == 200


async def test_answers_denials_and_failures_are_remembered(dns: FakeDns) -> None:
    """One question each, however often it comes, also at one moment."""
    resolver = resolver_for(dns)
    await asyncio.gather(*(resolver.mx("public.test") for _ in range(20)))
    for _ in range(3):
        await resolver.mx("public.test")
        with pytest.raises(NoSuchNameError):
            await resolver.mx("no-such.test")
        with pytest.raises(DnsTroubleError):
            await resolver.mx("servfail.test")
    assert dns.asked["public.test", "MX"] == 1
    assert dns.asked["no-such.test", "MX"] == 1
    assert dns.asked["servfail.test", "MX"] <= 2


@pytest.mark.parametrize(("ttl", "kept"), [(0, 30.0), (2**31 - 1, 86_400.0)])
async def test_the_life_of_an_answer_is_bounded(ttl: int, kept: float) -> None:
    """N04: neither asked for each mail, nor believed for decades."""
    now = 0.0
    async with FakeDns({"a.test": {"MX": ["10 mx.a.test."]}}, ttl=ttl) as server:
        settings = ResolverSettings(nameservers=("127.0.0.1",), port=server.port)
        resolver = Resolver(settings, clock=lambda: now)
        for later in (0.0, kept - 1, kept + 1):
            now = later
            assert (await resolver.mx("a.test")).records
        assert server.asked["a.test", "MX"] == 2


async def test_a_resolver_that_comes_back_is_asked_again(dns: FakeDns) -> None:
    """N07: failures are remembered for ten seconds, not longer, and no look-up runs in between."""
    now = 0.0
    settings = ResolverSettings(
        nameservers=("127.0.0.1",), port=dns.port, try_seconds=0.05, lifetime=0.1
    )
    resolver = Resolver(settings, clock=lambda: now)
    dns.silent = True
    with pytest.raises(DnsTroubleError):
        await resolver.mx("public.test")
    asked = dns.asked.total()
    dns.silent = False
    with pytest.raises(DnsTroubleError):
        await resolver.mx("public.test")
    assert dns.asked.total() == asked
    now = 10.5
    assert (await resolver.mx("public.test")).records


def test_the_cache_is_bounded_by_entries_and_time() -> None:
    """N04: neither names nor long lives make it grow."""
    now = 0.0
    cache: Cache[int, str] = Cache(3, clock=lambda: now)
    for number in range(5):
        cache.put(number, "x", 10.0 * number)
    assert len(cache) == 3
    assert cache.get(1) is None
    assert cache.get(3) == "x"
    now = 31.0
    assert cache.get(3) is None
    assert cache.get(4) == "x"


async def test_mail_goes_to_the_next_host_when_the_first_fails(
    make_transport: MakeTransport,
) -> None:
    """S01, S02, S09: banner refusals, lost connections and 421 move on; refusals of the mail do
    not.
    """
    zone: Zone = {
        "two.test": {"MX": ["10 first.two.test.", "20 second.two.test."]},
        "first.two.test": {"A": ["127.0.0.1"]},
        "second.two.test": {"A": ["127.0.0.2"]},
    }
    async with ScriptedMx() as first:
        second = ScriptedMx(host="127.0.0.2")
        second.port = first.port
        async with second, FakeDns(zone) as dns:
            hosts = hosts_for(dns, allow_private=True, port=first.port, own_addresses=frozenset())
            transport = make_transport(hosts=hosts)
            route = Route(destination="two.test")
            first.answer(banner="554 5.7.1 not you", mail="421 4.3.2 bye")
            moved = await transport.deliver(route, mail_to)
            assert (moved.verdict, moved.address) == (Verdict.DELIVERED, "127.0.0.2")
            transport.pool.close()
            again = await transport.deliver(route, mail_to)
            assert (again.verdict, again.address) == (Verdict.DELIVERED, "127.0.0.2")
            transport.pool.close()
            first.answer(rcpt="550 5.1.1 unknown")
            refused = await transport.deliver(route, mail_to)
            assert (refused.verdict, refused.address) == (Verdict.BOUNCED, "127.0.0.1")
            first.answer(rcpt="450 4.2.0 greylisted")
            later = await transport.deliver(route, mail_to)
            assert (later.verdict, later.address) == (Verdict.RETRY, "127.0.0.1")
            first.answer(dot=Act.DROP)
            lost = await transport.deliver(route, mail_to)
            assert lost.ambiguous
            assert (lost.verdict, lost.address) == (Verdict.RETRY, "127.0.0.1")
    assert len(second.messages) == 2


async def test_a_hundred_refusing_hosts_cost_a_bounded_number_of_tries(
    make_transport: MakeTransport,
) -> None:
    """S17: five hosts are tried, then the mail waits."""
    zone: Zone = {"h.test": {"MX": [f"{n} h{n}.h.test." for n in range(1, 101)]}}
    zone |= {f"h{n}.h.test": {"A": [f"127.0.1.{n}"]} for n in range(1, 101)}
    async with FakeDns(zone) as dns, ScriptedMx() as mx:
        hosts = hosts_for(dns, allow_private=True, port=mx.port)
        transport = make_transport(hosts=hosts)
        outcome = await transport.deliver(Route(destination="h.test"), mail_to, delivery=5)
        assert (outcome.verdict, outcome.problem) == (Verdict.RETRY, Problem.UNREACHABLE)
        assert outcome.host == "h5.h.test"
        again = await transport.deliver(Route(destination="h.test"), mail_to, delivery=5)
        assert again.host == "h10.h.test"  # hosts that were down lately come last


async def test_no_hosts_is_an_outcome(make_transport: MakeTransport, dns: FakeDns) -> None:
    """Null MX bounces with 5.1.10, SERVFAIL waits with 4.4.3; each job of the lane gets its
    outcome.
    """
    transport = make_transport(hosts=hosts_for(dns))
    jobs = Jobs([mail_to(delivery=n) for n in range(3)])
    await transport.run(Route(destination="null.test"), jobs.take)
    assert [(o.delivery, o.verdict, o.enhanced) for o in jobs.outcomes] == [
        (n, Verdict.BOUNCED, "5.1.10") for n in range(3)
    ]
    waits = await transport.deliver(Route(destination="servfail.test"), mail_to)
    assert (waits.verdict, waits.problem, waits.enhanced) == (Verdict.RETRY, Problem.DNS, "4.4.3")

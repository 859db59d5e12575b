"""MTA-STS: what a domain publishes decides whether mail may go (N08, S11)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import trustme

from relay.delivery.mx.sts import (
    HttpsFetch,
    KnownPolicy,
    StsError,
    StsPolicies,
    StsPolicy,
    read_policy,
)
from relay.delivery.mx.sts_file import StsFile
from relay.delivery.outgoing import Problem, Verdict
from relay.delivery.tls import TlsCounts
from tests.harness.outbound import MakeTransport
from tests.harness.scripted_mx import Act, ScriptedMx
from tests.harness.tls_policies import (
    POLICY,
    client_context,
    deliver,
    server_context,
    world,
    zone_with,
)


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    """Make the authority once."""
    return trustme.CA()


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


async def test_policies_are_kept_over_a_restart_for_their_time(
    ca: trustme.CA, tmp_path: Path
) -> None:
    """Who cuts off DNS and HTTPS after a restart cannot talk us out of TLS."""
    clock = [1000.0]
    kept = StsFile(tmp_path / "mta-sts.jsonl", clock=lambda: clock[0])
    async with world(ca, zone_with()) as w:
        fetch = HttpsFetch(
            w.resolver, context=client_context(ca), port=w.https.port, allow_private=True
        )
        first = StsPolicies(w.resolver, fetch, keeper=kept)
        assert await first.policy("inbox.test") is not None
        w.dns.zone.clear()
        again = StsPolicies(w.resolver, fetch, keeper=kept)
        policy = await again.policy("inbox.test")
        assert policy is not None
        assert (policy.mode, policy.hosts) == ("enforce", ("mx.inbox.test",))
        clock[0] += policy.max_age
        over_age = StsPolicies(w.resolver, fetch, keeper=kept)
        assert await over_age.policy("inbox.test") is None


async def test_a_damaged_file_costs_only_its_damaged_lines_and_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "mta-sts.jsonl"
    kept = StsFile(path, clock=lambda: 1000.0, most=2)
    for number in range(5):
        policy = StsPolicy(mode="testing", max_age=60, hosts=(f"mx{number}.test",))
        known = KnownPolicy(domain=f"{number}.test", policy=policy, policy_id="1", seconds=60.0)
        await kept.keep(known)
    with path.open("ab") as file:
        file.write(b'{"domain": "torn\n\xff\xfe\n{}\n')
    assert [known.domain for known in kept.load()] == ["3.test", "4.test"]
    assert path.read_bytes().count(b"\n") == 2  # written anew
    assert path.stat().st_mode & 0o777 == 0o600


def line(domain: str) -> KnownPolicy:
    policy = StsPolicy(mode="testing", max_age=60, hosts=(f"mx.{domain}",))
    return KnownPolicy(domain=domain, policy=policy, policy_id="1", seconds=60.0)


def domains(kept: StsFile) -> list[str]:
    return [known.domain for known in kept.load()]


@pytest.mark.parametrize(
    "damage",
    [
        b'{"domain":"\xff\xfe","id":"1","mode":"none","hosts":[],"max_age":60,"until":1060}\n',
        b'{"x":' + b"[" * 60_000 + b"\n",
        b"\x00" * 200_000 + b"\n",
    ],
    ids=["invalid UTF-8", "nested", "zeros"],
)
async def test_a_damaged_line_of_any_kind_is_passed_over(tmp_path: Path, damage: bytes) -> None:
    """A worker that cannot read its memory starts all the same."""
    path = tmp_path / "mta-sts.jsonl"
    kept = StsFile(path, clock=lambda: 1000.0)
    await kept.keep(line("before.test"))
    with path.open("ab") as file:
        file.write(damage)
    await kept.keep(line("behind.test"))
    assert domains(kept) == ["before.test", "behind.test"]


async def test_a_file_that_cannot_be_opened_is_an_empty_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "mta-sts.jsonl"
    path.mkdir()  # no right helps whoever is root here
    kept = StsFile(path, clock=lambda: 1000.0)
    assert domains(kept) == []
    assert "policies kept there" in caplog.text
    await kept.keep(line("inbox.test"))
    assert "a policy could not be kept" in caplog.text


async def test_a_file_grows_no_further_than_its_octets(tmp_path: Path) -> None:
    """Not only at a start: a worker may run for years."""
    path = tmp_path / "mta-sts.jsonl"
    kept = StsFile(path, clock=lambda: 1000.0, octets=2000)
    for number in range(100):
        await kept.keep(line(f"{number}.test"))
        assert path.stat().st_size <= 2000
    there = domains(kept)
    assert there == [f"{number}.test" for number in range(100 - len(there), 100)]
    assert len(there) > 5
    assert path.stat().st_mode & 0o777 == 0o600
    assert not path.with_suffix(".fresh").exists()


async def test_what_another_worker_appends_outlives_the_rewriting(tmp_path: Path) -> None:
    """One loads again and again a file that is too long; four append; no policy is lost."""
    path = tmp_path / "mta-sts.jsonl"
    appending = [StsFile(path, clock=lambda: 1000.0, most=200) for _ in range(4)]

    def look() -> None:
        for _ in range(100):
            with path.open("ab") as file:
                file.write(b"x\n" * 401)
            list(StsFile(path, clock=lambda: 1000.0, most=200).load())

    async def append(worker: int) -> None:
        for number in range(50):
            await appending[worker].keep(line(f"{worker}.{number}.test"))

    await asyncio.gather(asyncio.to_thread(look), *(append(worker) for worker in range(4)))
    assert set(domains(appending[0])) == {f"{w}.{n}.test" for w in range(4) for n in range(50)}

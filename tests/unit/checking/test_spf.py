"""SPF as receivers see it: RFC 7208, against a name server of our own."""

from __future__ import annotations

import pytest

from relay.checking.spf import Evaluation
from relay.delivery.mx.resolver import Resolver, ResolverSettings
from tests.harness.fake_dns import FakeDns, Zone


def spf(record: str, **more: dict[str, list[str]]) -> Zone:
    """Give a zone in which a.test has this SPF record."""
    return {
        "a.test": {"TXT": [f'"{record}"'], "A": ["192.0.2.1"], "MX": ["10 mx.a.test."]},
        "mx.a.test": {"A": ["192.0.2.2"], "AAAA": ["2001:db8::2"]},
        **{name.replace("_", "."): records for name, records in more.items()},
    }


@pytest.mark.parametrize(
    ("record", "address", "expected"),
    [
        ("v=spf1 ip4:192.0.2.7 -all", "192.0.2.7", "pass"),
        ("v=spf1 ip4:192.0.2.0/24 -all", "192.0.2.200", "pass"),
        ("v=spf1 ip4:192.0.2.7 -all", "192.0.2.8", "fail"),
        ("v=spf1 ip6:2001:db8::/32 ~all", "2001:db8::9", "pass"),
        ("v=spf1 ip6:2001:db8::/32 ~all", "192.0.2.1", "softfail"),
        ("v=spf1 a -all", "192.0.2.1", "pass"),
        ("v=spf1 a/24 -all", "192.0.2.99", "pass"),
        ("v=spf1 a:mx.a.test -all", "2001:db8::2", "pass"),
        ("v=spf1 mx -all", "192.0.2.2", "pass"),
        ("v=spf1 mx", "192.0.2.3", "neutral"),
        ("v=spf1 -ip4:192.0.2.7 +all", "192.0.2.7", "fail"),
        ("v=spf1 include:b.test -all", "198.51.100.1", "pass"),
        ("v=spf1 include:b.test -all", "198.51.100.2", "fail"),
        ("v=spf1 include:none.test -all", "192.0.2.1", "permerror"),
        ("v=spf1 redirect=b.test", "198.51.100.1", "pass"),
        ("v=spf1 include:a.test -all", "192.0.2.9", "permerror"),
        ("v=spf1 ip4:rubbish -all", "192.0.2.9", "fail"),
    ],
)
async def test_who_may_send(record: str, address: str, expected: str) -> None:
    zone = spf(record, b_test={"TXT": ['"v=spf1 ip4:198.51.100.1 -all"']})
    async with FakeDns(zone) as server:
        dns = Resolver(ResolverSettings(nameservers=("127.0.0.1",), port=server.port))
        assert await Evaluation(dns, address).result("a.test") == expected


async def test_two_records_are_an_error_and_none_is_none() -> None:
    zone: Zone = {
        "a.test": {"TXT": ['"v=spf1 -all"', '"v=spf1 a -all"']},
        "b.test": {"A": ["192.0.2.1"]},
    }
    async with FakeDns(zone) as server:
        dns = Resolver(ResolverSettings(nameservers=("127.0.0.1",), port=server.port))
        assert await Evaluation(dns, "192.0.2.1").result("a.test") == "permerror"
        assert await Evaluation(dns, "192.0.2.1").result("b.test") == "none"

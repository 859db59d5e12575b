"""A domain that is set up well passes every check; each thing taken away is named, with the record
to publish.
"""

from __future__ import annotations

import copy
import ssl

import pytest
import trustme

from relay.checking.domain import FAILED, OK, UNKNOWN, WARNING, Finding, Wanted, check_domain
from relay.delivery.mx.resolver import Resolver, ResolverSettings
from tests.harness.fake_dns import FakeDns, Zone
from tests.harness.scripted_mx import ScriptedMx

KEY = "v=DKIM1; k=rsa; p=QUJD"
GOOD: Zone = {
    "s1._domainkey.shop.test": {"TXT": ['"v=DKIM1; k=rsa; " "p=QUJD"']},
    "shop.test": {"TXT": ['"hello"', '"v=spf1 ip4:127.0.0.1 -all"']},
    "_dmarc.shop.test": {"TXT": ['"v=DMARC1; p=none"']},
    "bounce.shop.test": {"MX": ["10 mx.relay.test."], "TXT": ['"v=spf1 a:mx.relay.test -all"']},
    "t.shop.test": {"A": ["127.0.0.1"]},
    "mx.relay.test": {"A": ["127.0.0.1"]},
    "1.0.0.127.in-addr.arpa": {"PTR": ["mx.relay.test."]},
    "big.test": {"MX": ["10 in.big.test."]},
    "in.big.test": {"A": ["127.0.0.1"]},
}
LINES = {
    "dkim": ("s1._domainkey.shop.test. IN TXT x",),
    "dmarc": ("_dmarc.shop.test. IN TXT x",),
    "return-path-mx": ("bounce.shop.test. IN MX 10 mx.relay.test.",),
    "return-path-spf": ("bounce.shop.test. IN TXT x",),
    "spf": ("shop.test. IN TXT x",),
}


async def checked(zone: Zone, **other: object) -> dict[str, Finding]:
    """Check against this zone, a tracking host with a certificate, and an MX host that greets."""
    authority = trustme.CA()
    served, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert(str(other.pop("certificate", "t.shop.test"))).configure_cert(served)
    authority.configure_trust(trusting)
    async with (
        FakeDns(zone) as server,
        ScriptedMx() as mx,
        ScriptedMx(tls=served, implicit_tls=True) as web,
    ):
        values: dict[str, object] = {
            "domain": "shop.test",
            "hostname": "mx.relay.test",
            "return_path": "bounce.shop.test",
            "tracking_url": f"https://t.shop.test:{web.port}",
            "keys": [("s1._domainkey.shop.test", KEY)],
            "records": LINES,
            "unsubscribe": True,
            "port": mx.port,
            "try_domain": "big.test",
            "authorities": trusting,
            **other,
        }
        dns = Resolver(ResolverSettings(nameservers=("127.0.0.1",), port=server.port, lifetime=2.0))
        wanted = Wanted(**values)  # type: ignore[arg-type] # by name, as the tests give them
        return {one.what: one async for one in check_domain(dns, wanted)}


async def test_a_domain_that_is_set_up_well() -> None:
    found = await checked(GOOD)
    assert {what: one.state for what, one in found.items()} == dict.fromkeys(
        (
            "dkim", "spf", "dmarc", "return-path-mx", "return-path-spf", "tracking", "ptr",
            "port-25", "one-click",
        ),
        OK,
    )  # fmt: skip
    assert all(one.publish == () for one in found.values())


@pytest.mark.parametrize(
    ("name", "records", "what", "state"),
    [
        ("s1._domainkey.shop.test", {}, "dkim", FAILED),
        ("s1._domainkey.shop.test", {"TXT": ['"v=DKIM1; p=WFla"']}, "dkim", FAILED),
        ("shop.test", {"TXT": ['"hello"']}, "spf", WARNING),
        ("shop.test", {"TXT": ['"v=spf1 -all"']}, "spf", FAILED),
        ("_dmarc.shop.test", {}, "dmarc", FAILED),
        ("_dmarc.shop.test", {"TXT": ['"v=DMARC1"']}, "dmarc", FAILED),
        ("_dmarc.shop.test", {"TXT": ['"v=DMARC1; p=reject; aspf=s"']}, "dmarc", WARNING),
        ("bounce.shop.test", {"MX": ["10 other.test."]}, "return-path-mx", FAILED),
        ("bounce.shop.test", {"MX": ["10 mx.relay.test."]}, "return-path-spf", FAILED),
        ("t.shop.test", {}, "tracking", FAILED),
        ("1.0.0.127.in-addr.arpa", {}, "ptr", FAILED),
        ("1.0.0.127.in-addr.arpa", {"PTR": ["shop.test."]}, "ptr", FAILED),
        ("1.0.0.127.in-addr.arpa", {"PTR": ["in.big.test."]}, "ptr", WARNING),
        ("in.big.test", {}, "port-25", FAILED),
    ],
)
async def test_what_is_wrong_is_named(
    name: str, records: dict[str, list[str]], what: str, state: str
) -> None:
    zone = copy.deepcopy(GOOD)
    zone[name] = records
    found = await checked(zone)
    assert found[what].state == state, found[what].words
    if state == FAILED and what in LINES:
        assert found[what].publish == LINES[what]


async def test_a_certificate_of_another_name_and_plain_links_are_named() -> None:
    found = await checked(GOOD, certificate="other.test")
    assert found["tracking"].state == FAILED
    assert "certificate" in found["tracking"].words
    found = await checked(GOOD, tracking_url="http://t.shop.test")
    assert (found["tracking"].state, found["one-click"].state) == (WARNING, WARNING)


async def test_a_name_server_that_fails_is_not_taken_for_an_answer() -> None:
    found = await checked(
        GOOD, return_path="servfail.bounce.test", keys=[("servfail._domainkey.shop.test", KEY)]
    )
    assert found["dkim"].state == UNKNOWN
    assert found["return-path-mx"].state == UNKNOWN

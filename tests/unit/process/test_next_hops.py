"""Settings of the way out: what cannot work stops the start and says which setting it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from relay.config import Config, DeliverySection
from relay.delivery.route import TlsLevel
from relay.errors import ConfigError
from relay.process.next_hops import next_hops, opener, pool_domains
from relay.submission.limits import LocalTally


def config(**delivery: Any) -> Config:
    section = msgspec.convert(
        {"mode": "mx", "nameservers": ["127.0.0.1"], **delivery}, DeliverySection
    )
    return Config(delivery=section)


@pytest.mark.parametrize(
    ("delivery", "says"),
    [
        ({"pools": ["bulk"]}, "delivery.pools: 'bulk'"),
        ({"pools": ["a/b=192.0.2.1"]}, "delivery.pools: 'a/b=192.0.2.1'"),
        ({"pools": ["bulk=here"]}, "delivery.pools: bulk: 'here' is not an IP address"),
        ({"source_addresses": ["x"]}, "delivery.source_addresses: 'x' is not an IP address"),
        ({"warm_up": ["192.0.2.1=soon"]}, "delivery.warm_up: 192.0.2.1: 'soon' is not a date"),
        ({"tls_destinations": ["a.test=some"]}, "delivery.tls_destinations: a.test: expected"),
        ({"providers": "/nonexistent"}, "/nonexistent: "),
        ({"nameservers": ["no address"]}, "delivery.nameservers: 'no address' does not"),
        ({"nameservers": ["127.0.0.1:x"]}, "delivery.nameservers: "),
    ],
)
def test_what_cannot_work_is_said(delivery: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        next_hops(config(**delivery), LocalTally())
    assert says in str(caught.value)


def test_a_pool_must_exist_and_authorities_must_be_readable(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"delivery.pool_domains: news.test: there is no pool"):
        pool_domains(config(pool_domains=["news.test=bulk"]))
    broken = tmp_path / "file.pem"
    broken.write_text("no certificate")
    with pytest.raises(ConfigError, match=r"delivery.authorities: "):
        opener(config(authorities=str(broken)))


def test_limits_are_those_of_the_provider_per_address() -> None:
    hops = next_hops(
        config(source_addresses=["192.0.2.1"], pools=["bulk=192.0.2.2 192.0.2.3"]), LocalTally()
    )
    yahoo = hops.providers.by_name["yahoo"]
    usual, bulk = hops.limits("yahoo.com"), hops.limits("yahoo.com/bulk")
    assert (usual.concurrency, usual.group) == (yahoo.connections, "yahoo/")
    assert (bulk.concurrency, bulk.group) == (2 * yahoo.connections, "yahoo/bulk")
    assert hops.limits("shop.test").group == ""


def test_the_level_of_tls_is_the_destination_s_own_or_the_usual() -> None:
    hops = next_hops(
        config(tls_destinations=["bank.test=verified"], mx_tls="required"), LocalTally()
    )
    assert hops.route("bank.test/bulk", "").tls is TlsLevel.VERIFIED
    assert hops.route("shop.test", "").tls is TlsLevel.REQUIRED
    assert hops.route("bank.test/bulk", "192.0.2.1").destination == "bank.test"

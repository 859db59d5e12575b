"""Whose hosts a domain has: by the table before DNS was asked, by its hosts afterwards."""

from __future__ import annotations

from collections.abc import Sequence

from relay.delivery.mx.owners import Owners
from relay.delivery.providers import load_providers
from relay.delivery.route import Route, Target

PROVIDERS = load_providers()


class Fixed:
    """Gives these hosts for every domain."""

    def __init__(self, *names: str) -> None:
        self.names = names

    async def targets(self, route: Route) -> Sequence[Target]:
        return [
            Target(name=name, address="192.0.2.1", provider=PROVIDERS.name_of_host(name))
            for name in self.names
        ]


async def test_a_listed_domain_is_known_before_dns_was_asked() -> None:
    owners = Owners(Fixed(), PROVIDERS)
    name, provider = owners.of("gmail.com")
    assert name == "gmail"
    assert provider is PROVIDERS.by_name["gmail"]
    assert owners.of("shop.test") == ("", None)


async def test_hosts_tell_the_owner_and_who_asked_hears_of_it_once() -> None:
    heard: list[str] = []
    owners = Owners(Fixed("aspmx.l.google.com", "alt1.aspmx.l.google.com"), PROVIDERS, heard.append)
    for _ in range(2):
        await owners.targets(Route(destination="shop.test"))
    assert owners.of("shop.test") == ("gmail", PROVIDERS.by_name["gmail"])
    assert heard == ["shop.test"]


async def test_unlisted_hosts_are_their_own_owner_in_any_order() -> None:
    for names in (("mx2.host.test", "mx1.host.test"), ("mx1.host.test", "mx2.host.test")):
        owners = Owners(Fixed(*names), PROVIDERS)
        await owners.targets(Route(destination="shop.test"))
        assert owners.of("shop.test") == ("mx1.host.test", None)

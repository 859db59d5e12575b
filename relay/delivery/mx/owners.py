"""Whose hosts a domain's mail goes to, learnt from the look-ups that delivery makes anyway.

Dispatch keeps its bounds per owner: a listed provider by name, anybody else by the first of the
host names in alphabetical order. Bounded; what is forgotten is learnt again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from relay.delivery.providers import Provider, Providers
from relay.delivery.route import Hosts, Route, Target

_MOST = 50_000


class Owners:
    """Asks `hosts` and remembers the answer's owner; `learnt` hears of a domain whose owner
    changed.
    """

    def __init__(
        self, hosts: Hosts, providers: Providers, learnt: Callable[[str], None] = lambda _: None
    ) -> None:
        """Know nothing yet but the provider table."""
        self._hosts = hosts
        self._providers = providers
        self._owners: OrderedDict[str, str] = OrderedDict()
        self.learnt = learnt

    async def targets(self, route: Route) -> Sequence[Target]:
        """Give the targets of a route; raises NoHostsError."""
        found = await self._hosts.targets(route)
        domain = route.destination
        owner = min(target.provider or target.name for target in found)
        for target in found:
            if target.provider:
                owner = target.provider
                break
        if self._owners.get(domain) != owner:
            self._owners[domain] = owner
            if len(self._owners) > _MOST:
                self._owners.popitem(last=False)
            self.learnt(domain)
        return found

    def of(self, domain: str) -> tuple[str, Provider | None]:
        """Give the owner's name ("" while nobody knows) and its row in the provider table."""
        owner = self._owners.get(domain)
        if owner is not None:
            return owner, self._providers.by_name.get(owner)
        provider = self._providers.of_domain(domain)
        return (provider.name, provider) if provider is not None else ("", None)

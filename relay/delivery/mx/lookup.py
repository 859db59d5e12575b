"""From a domain to the targets to try: RFC 5321 section 5.1 with its later amendments.

MX in order of preference, shuffled inside one preference; no MX means the domain itself; null MX
(RFC 7505) and a list that is led by ourselves are final; ourselves further down cuts the list.
Private and loopback addresses are refused. Bounded: 20 hosts, 10 addresses each. MTA-STS and DANE
decide what must hold at each target (`policy.py`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from relay.delivery.mx.guard import is_public
from relay.delivery.mx.resolver import DnsTroubleError, NoSuchNameError, Resolver
from relay.delivery.route import NoHostsError, Route, Target, TlsaRecord, TlsLevel

_MAX_HOSTS = 20
_MAX_ADDRESSES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a policy asks of one host: the level, who asks ("", "sts", "dane"), and DANE records."""

    tls: TlsLevel = TlsLevel.NONE
    policy: str = ""
    tlsa: tuple[TlsaRecord, ...] = ()


class Policies(Protocol):
    """Knows what must hold for the hosts of a domain."""

    async def demand(self, domain: str, host: str, *, validated: bool) -> Demand | None:
        """Give the demand on one host, None if mail must not go there now.

        `validated`: MX and address answers were validated by DNSSEC.
        """
        ...


class NoPolicies:
    """Asks nothing of anybody."""

    async def demand(self, domain: str, host: str, *, validated: bool) -> Demand | None:
        """Ask nothing."""
        return Demand()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exchange:
    preference: int
    name: str


@dataclass(slots=True, kw_only=True)
class MxHosts:
    """Finds the targets of a route by MX. `own_names` (lower case) and `own_addresses` are
    ourselves.
    """

    resolver: Resolver
    policies: Policies = field(default_factory=NoPolicies)
    own_names: frozenset[str] = frozenset()
    own_addresses: Container[str] = frozenset()
    allow_private: bool = False
    families: tuple[str, ...] = ("A", "AAAA")  # IPv4 first: its reputation is what receivers know
    port: int = 25
    provider_of: Callable[[str], str] = lambda host: ""
    chance: random.Random = field(default_factory=random.Random)

    async def targets(self, route: Route) -> Sequence[Target]:
        """Give the targets of `route.destination`; raises NoHostsError, permanent only where DNS
        said so itself.
        """
        domain = route.destination
        exchanges, validated = await self._exchanges(domain)
        found: list[Target] = []
        troubles: list[tuple[str, str]] = []  # enhanced code and text of what may pass
        refused: list[str] = []
        own_preference: int | None = None
        asked = await asyncio.gather(
            *(self._addresses(exchange.name) for exchange in exchanges[:_MAX_HOSTS])
        )
        for exchange, (addresses, safe, trouble) in zip(exchanges, asked, strict=False):
            if own_preference is not None and exchange.preference >= own_preference:
                break
            if exchange.name in self.own_names:
                own_preference = exchange.preference
                continue
            if trouble:
                troubles.append(("4.4.3", trouble))
                continue
            if any(address in self.own_addresses for address in addresses):
                own_preference = exchange.preference
                continue
            usable = [address for address in addresses if self.allow_private or is_public(address)]
            if not usable:
                refused.append(exchange.name)
                continue
            demand = await self._demand(domain, exchange.name, validated=validated and safe)
            if demand is None:
                text = f"the TLS policy of {domain} does not allow its host {exchange.name}"
                troubles.append(("4.7.5", text))
                continue
            found += self._targets(route, exchange.name, usable, demand)
        if own_preference is not None:
            found = [
                target for target in found if self._is_before(target, exchanges, own_preference)
            ]
        if not found:
            raise self._nothing(domain, troubles, refused, loops=own_preference is not None)
        return found

    # -- steps -------------------------------------------------------------------------------

    async def _exchanges(self, domain: str) -> tuple[list[_Exchange], bool]:
        try:
            answer = await self.resolver.mx(domain)
        except NoSuchNameError as error:
            raise NoHostsError("5.1.2", str(error), permanent=True) from None
        except DnsTroubleError as error:
            raise NoHostsError("4.4.3", str(error), permanent=False) from None
        exchanges = []
        for record in answer.records:
            preference, _, name = record.partition(" ")
            exchanges.append(
                _Exchange(preference=int(preference), name=name.lower().removesuffix("."))
            )
        if not exchanges:  # RFC 5321 section 5.1: the implicit MX
            return [
                _Exchange(preference=0, name=domain.lower().removesuffix("."))
            ], answer.validated
        if all(not exchange.name for exchange in exchanges):
            text = f"{domain} says that it accepts no mail (null MX)"
            raise NoHostsError("5.1.10", text, permanent=True)
        exchanges = [exchange for exchange in exchanges if exchange.name]
        self.chance.shuffle(exchanges)
        exchanges.sort(key=lambda exchange: exchange.preference)
        return exchanges, answer.validated

    async def _addresses(self, name: str) -> tuple[list[str], bool, str]:
        """Give the addresses of a host, whether all answers were validated, and what went wrong.

        No addresses and nothing wrong: the host has none.
        """
        answers = await asyncio.gather(
            *(self.resolver.addresses(name, family) for family in self.families),
            return_exceptions=True,
        )
        found: list[str] = []
        trouble = ""
        validated = True
        for answer in answers:
            if isinstance(answer, NoSuchNameError):
                return [], False, ""
            if isinstance(answer, DnsTroubleError):
                trouble = str(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                of_family = list(answer.records)
                self.chance.shuffle(of_family)
                found += of_family
                validated = validated and answer.validated
        return found[:_MAX_ADDRESSES], validated and not trouble, "" if found else trouble

    async def _demand(self, domain: str, host: str, *, validated: bool) -> Demand | None:
        try:
            return await self.policies.demand(domain, host, validated=validated)
        except DnsTroubleError:  # a bogus TLSA answer looks like this: not to be sent in the clear
            return None

    def _targets(
        self, route: Route, name: str, addresses: Sequence[str], demand: Demand
    ) -> list[Target]:
        provider = self.provider_of(name)
        return [
            Target(
                name=name,
                address=address,
                port=self.port,
                tls=max(route.tls, demand.tls),
                source=route.source if (":" in route.source) == (":" in address) else "",
                policy=demand.policy,
                tlsa=demand.tlsa,
                provider=provider,
            )
            for address in addresses
        ]

    def _is_before(self, target: Target, exchanges: Sequence[_Exchange], preference: int) -> bool:
        return any(e.name == target.name and e.preference < preference for e in exchanges)

    def _nothing(
        self, domain: str, troubles: list[tuple[str, str]], refused: list[str], *, loops: bool
    ) -> NoHostsError:
        if loops and not troubles:
            text = f"mail for {domain} would come back to this host"
            return NoHostsError("5.4.6", text, permanent=True)
        if troubles:
            return NoHostsError(*troubles[-1], permanent=False)
        names = ", ".join(refused[:3])
        text = f"no host of {domain} has a usable public address ({names})"
        return NoHostsError("5.4.4", text, permanent=True)

"""Does an SPF record let an address send: RFC 7208 section 4.6, as far as records in use go.

Guarantees: at most ten questions to DNS per look-up (RFC 7208 section 4.6.4), so that no record
leads on for ever. Macros and `exists` are taken as "no match": a relay does not need them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Protocol

from relay.delivery.mx.resolver import Answer, NoSuchNameError

_MOST_QUESTIONS = 10
_RESULTS = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Dns(Protocol):
    """What is asked; `relay.delivery.mx.resolver.Resolver` fits."""

    async def mx(self, name: str) -> Answer:
        """Give MX records."""
        ...

    async def addresses(self, name: str, family: str) -> Answer:
        """Give addresses."""
        ...

    async def txt(self, name: str) -> Answer:
        """Give TXT records."""
        ...


async def records_of(dns: Dns, name: str) -> list[str]:
    """Give the SPF records of a name; more than one is an error of whoever published them."""
    try:
        found = (await dns.txt(name)).records
    except NoSuchNameError:
        return []
    return [one for one in found if one.lower() == "v=spf1" or one.lower().startswith("v=spf1 ")]


class Evaluation:
    """One look-up for one address."""

    def __init__(self, dns: Dns, address: str) -> None:
        """Take where to ask and who would send."""
        self._dns = dns
        self._address = ipaddress.ip_address(address)
        self._questions = 0

    async def result(self, domain: str) -> str:
        """Say pass, fail, softfail, neutral, none or permerror; raises DnsTroubleError."""
        found = await records_of(self._dns, domain)
        if len(found) != 1:
            return "permerror" if found else "none"
        redirect = ""
        for term in found[0].split()[1:]:
            if term.lower().startswith("redirect="):
                redirect = term.partition("=")[2]
                continue
            qualifier, mechanism = (term[0], term[1:]) if term[0] in _RESULTS else ("+", term)
            matched = await self._matches(mechanism, domain)
            if matched is None:
                return "permerror"
            if matched:
                return _RESULTS[qualifier]
        if redirect and self._may_ask():
            said = await self.result(redirect)
            return "permerror" if said == "none" else said
        return "permerror" if redirect else "neutral"

    def _may_ask(self) -> bool:
        self._questions += 1
        return self._questions <= _MOST_QUESTIONS

    async def _matches(self, mechanism: str, domain: str) -> bool | None:
        """Tell whether a mechanism names the address; None where the record is in error."""
        name, _, value = mechanism.partition(":")
        name = name.lower()
        if name == "all":
            return True
        if name in ("ip4", "ip6"):
            return self._within([value])
        kind, _, mask = name.partition("/")
        if kind not in ("include", "a", "mx"):
            return False
        if not self._may_ask():
            return None
        target, _, behind = (value or domain).partition("/")
        mask = mask or behind
        if kind == "include":
            return await self._included(target)
        hosts = [target]
        if kind == "mx":
            hosts = [one.split()[-1] for one in await self._asked(self._dns.mx, target)][:10]
        for host in hosts:
            found = await self._asked(self._own_family, host)
            if self._within([f"{one}/{mask.lstrip('/')}" if mask else one for one in found]):
                return True
        return False

    async def _included(self, target: str) -> bool | None:
        said = await self.result(target)
        return None if said in ("none", "permerror") else said == "pass"

    async def _own_family(self, name: str, /) -> Answer:
        return await self._dns.addresses(name, "A" if self._address.version == 4 else "AAAA")

    async def _asked(self, ask: Ask, name: str) -> Sequence[str]:
        try:
            return (await ask(name)).records
        except NoSuchNameError:
            return ()

    def _within(self, networks: Sequence[str]) -> bool:
        for one in networks:
            try:
                if self._address in ipaddress.ip_network(one, strict=False):
                    return True
            except (ValueError, TypeError):
                continue
        return False


class Ask(Protocol):
    """A question by name."""

    async def __call__(self, name: str, /) -> Answer:
        """Give the answer."""
        ...

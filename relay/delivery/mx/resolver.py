"""The only door to DNS: dnspython behind four questions, with caches and bounds.

Guarantees: packets that do not fit their question are ignored (CVE-2023-29483) and the wait goes
on; truncated answers are asked again over TCP; equal questions at one moment are asked once;
answers, denials and failures are cached with bounds. "It is not there" and "nobody could tell" are
different exceptions: only the first may ever bounce mail.

`validated` is the AD bit, and is believed only where the setting says that the resolver validates
DNSSEC and the path to it is trusted (RFC 7672 section 2.1): a resolver on this machine.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from time import monotonic

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.name
import dns.rdatatype
import dns.resolver
from dns.nameserver import Do53Nameserver

from relay.delivery.mx.cache import Cache
from relay.delivery.route import TlsaRecord
from relay.errors import WaypostError

_MAX_RECORDS = 300  # of one answer that are looked at
_NAME = re.compile(  # what may be asked for; anything else cannot exist
    r"(?!.{254})(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_-]{1,63}"
)


class NoSuchNameError(WaypostError):
    """The name does not exist (NXDOMAIN), or cannot exist."""


class DnsTroubleError(WaypostError):
    """Nobody could tell: SERVFAIL, REFUSED, time-out, unreadable answers. Asking later may help."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Records as text (of MX "preference name", of TLSA four fields), and whether DNSSEC vouches
    for them.
    """

    records: tuple[str, ...]
    validated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolverSettings:
    """Where to ask, how long to keep; times in seconds.

    `nameservers` are addresses, with `:port` behind where it is not `port` (IPv6 in brackets then);
    none: the system's.
    """

    nameservers: tuple[str, ...] = ()
    port: int = 53
    validates: bool = False  # the resolver checks DNSSEC, and the path to it is trusted
    try_seconds: float = 3.0
    lifetime: float = 10.0
    entries: int = 50_000
    least_ttl: float = 30.0
    most_ttl: float = 86_400.0
    denial_seconds: float = 60.0
    trouble_seconds: float = 10.0


class Resolver:
    """Answers from DNS. One per worker."""

    def __init__(
        self, settings: ResolverSettings | None = None, *, clock: Callable[[], float] = monotonic
    ) -> None:
        """Ask as `settings` say; raises dns.resolver.NoResolverConfiguration where the system has
        none, ValueError for a name server that is no address.
        """
        self.settings = settings or ResolverSettings()
        wanted = self.settings
        self._resolver = dns.asyncresolver.Resolver(configure=not wanted.nameservers)
        if wanted.nameservers:
            self._resolver.nameservers = [
                Do53Nameserver(*_endpoint(one, wanted.port)) for one in wanted.nameservers
            ]
        self._resolver.timeout = wanted.try_seconds
        self._resolver.lifetime = wanted.lifetime
        self._resolver.use_edns(0, dns.flags.DO if wanted.validates else 0, 1232)
        self._resolver.flags = dns.flags.RD | dns.flags.AD
        self._cache: Cache[tuple[str, str], Answer | WaypostError] = Cache(
            wanted.entries, clock=clock
        )
        self._asking: dict[tuple[str, str], asyncio.Future[Answer]] = {}

    async def mx(self, name: str) -> Answer:
        """Give MX records; no records where the name has none of this type."""
        return await self._ask(name, "MX")

    async def addresses(self, name: str, family: str) -> Answer:
        """Give addresses as text; `family` is "A" or "AAAA"."""
        return await self._ask(name, family)

    async def txt(self, name: str) -> Answer:
        """Give TXT records, the strings of each joined."""
        return await self._ask(name, "TXT")

    async def pointers(self, address: str) -> Answer:
        """Give the names of an address (PTR)."""
        return await self._ask(ipaddress.ip_address(address).reverse_pointer, "PTR")

    async def tlsa(self, name: str) -> tuple[list[TlsaRecord], bool]:
        """Give TLSA records and whether the answer is validated."""
        answer = await self._ask(name, "TLSA")
        records = []
        for text in answer.records:
            usage, selector, matching, *data = text.split()
            records.append(
                TlsaRecord(
                    usage=int(usage),
                    selector=int(selector),
                    matching=int(matching),
                    data=bytes.fromhex("".join(data)),
                )
            )
        return records, answer.validated

    # -- asking ------------------------------------------------------------------------------

    async def _ask(self, name: str, kind: str) -> Answer:
        name = name.lower().removesuffix(".")
        if _NAME.fullmatch(name) is None:
            raise NoSuchNameError(f"{name[:80]!r} cannot be a domain name")
        key = (name, kind)
        known = self._cache.get(key)
        if isinstance(known, WaypostError):
            raise known
        if known is not None:
            return known
        asking = self._asking.get(key)
        if asking is None:
            asking = asyncio.ensure_future(self._fetch(name, kind))
            self._asking[key] = asking
            asking.add_done_callback(lambda done: self._told(key, done))
        return await asyncio.shield(asking)

    def _told(self, key: tuple[str, str], done: asyncio.Future[Answer]) -> None:
        self._asking.pop(key, None)
        if not done.cancelled():
            done.exception()  # looked at, also where everybody who waited is gone

    async def _fetch(self, name: str, kind: str) -> Answer:
        key = (name, kind)
        wanted = self.settings
        try:
            answer, ttl = await self._query(name, kind)
        except NoSuchNameError as error:
            self._cache.put(key, error, wanted.denial_seconds)
            raise
        except DnsTroubleError as error:
            self._cache.put(key, error, wanted.trouble_seconds)
            raise
        kept = min(max(ttl, wanted.least_ttl), wanted.most_ttl)
        self._cache.put(key, answer, kept if answer.records else wanted.denial_seconds)
        return answer

    async def _query(self, name: str, kind: str) -> tuple[Answer, float]:
        try:
            found = await self._resolver.resolve(
                dns.name.from_text(name + "."), kind, raise_on_no_answer=False, search=False
            )
        except dns.resolver.NXDOMAIN:
            raise NoSuchNameError(f"DNS has no domain {name} (NXDOMAIN)") from None
        except (dns.exception.DNSException, OSError, ValueError) as error:
            # SERVFAIL, REFUSED, time-outs, and whatever a hostile answer makes dnspython say
            reason = _reason(error)
            raise DnsTroubleError(f"DNS gave no {kind} answer for {name}: {reason}") from None
        validated = self.settings.validates and bool(found.response.flags & dns.flags.AD)
        if found.rrset is None:
            return Answer((), validated), 0.0
        records = tuple(_text(rdata) for rdata in list(found.rrset)[:_MAX_RECORDS])
        return Answer(records, validated), float(found.rrset.ttl)


def _endpoint(nameserver: str, port: int) -> tuple[str, int]:
    """Split "address" or "address:port"; a bare IPv6 address has several colons and no brackets.

    Raises ValueError for what is neither.
    """
    address = nameserver
    if nameserver.startswith("["):
        address, _, behind = nameserver.removeprefix("[").partition("]")
        port = int(behind.removeprefix(":") or port)
    elif nameserver.count(":") == 1:
        address, _, given = nameserver.partition(":")
        port = int(given)
    return str(ip_address(address)), port


def _text(rdata: object) -> str:
    strings: Sequence[bytes] | None = getattr(rdata, "strings", None)
    if strings is not None:
        return b"".join(strings).decode("utf-8", "replace")
    return str(rdata)


def _reason(error: Exception) -> str:
    if isinstance(error, dns.exception.Timeout):
        return "no answer in time"
    if isinstance(error, dns.resolver.NoNameservers):
        return "the name servers refused or failed"
    return type(error).__name__

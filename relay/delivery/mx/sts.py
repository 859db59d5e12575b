"""MTA-STS (RFC 8461): what a domain says about TLS at its hosts, fetched over verified HTTPS and
remembered.

Guarantees: no redirect is followed, at most 64 KiB are read, the certificate must be valid for
mta-sts.<domain>, private addresses are not connected to. While a remembered policy lives, a failed
look-up or fetch changes nothing (section 3.3), also after a restart where they are kept in a file
(`sts_file.py`). The TXT record only says whether there is something new. Bounded.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from relay.delivery.mx.cache import Cache
from relay.delivery.mx.guard import is_public
from relay.delivery.mx.resolver import DnsTroubleError, NoSuchNameError, Resolver
from relay.errors import WaypostError

_MAX_POLICY = 65_536
_MAX_AGE = 31_557_600  # seconds; section 3.2
_LOOK_AGAIN = 300.0  # seconds between looks at the TXT record, and after a failed fetch
_MAX_MX = 100
_ID = re.compile(r"v=STSv1\s*;(?:[^;]*;)*?\s*id=([A-Za-z0-9]{1,32})\s*(?:;.*)?", re.DOTALL)


class StsError(WaypostError):
    """The policy of a domain cannot be fetched or read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StsPolicy:
    """A policy: mode "enforce", "testing" or "none", host patterns, how long to believe it in
    seconds.
    """

    mode: str
    max_age: int
    hosts: tuple[str, ...] = ()

    def allows(self, host: str) -> bool:
        """Tell whether a host name matches a pattern; `*.` stands for exactly one label (section
        4.1).
        """
        host = host.lower().removesuffix(".")
        parent = host.partition(".")[2]
        return any(
            parent == pattern[2:] if pattern.startswith("*.") else host == pattern
            for pattern in self.hosts
        )


def read_policy(text: str) -> StsPolicy:
    """Read a policy file (section 3.2); raises StsError."""
    fields: dict[str, str] = {}
    hosts: list[str] = []
    for line in text.split("\n"):
        key, colon, value = line.strip().partition(":")
        if not colon:
            continue
        key, value = key.strip().lower(), value.strip()
        if key == "mx":
            hosts.append(value.lower().removesuffix("."))
        else:
            fields.setdefault(key, value)
    age = fields.get("max_age", "")
    if fields.get("version") != "STSv1":
        raise StsError("the policy does not say version: STSv1")
    if fields.get("mode") not in ("enforce", "testing", "none"):
        raise StsError("the policy's mode is not enforce, testing or none")
    if not (age.isascii() and age.isdigit() and len(age) <= 10):
        raise StsError("the policy's max_age is not a number of at most ten digits")
    if fields["mode"] != "none" and not hosts:
        raise StsError("the policy names no mx")
    return StsPolicy(
        mode=fields["mode"], max_age=min(int(age), _MAX_AGE), hosts=tuple(hosts[:_MAX_MX])
    )


class Fetch(Protocol):
    """Fetches the text of a domain's policy."""

    async def __call__(self, domain: str) -> str:
        """Give the text; raises StsError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPolicy:
    """A fetched policy, the id of the record that announced it, and how many seconds it is to be
    believed yet.
    """

    domain: str
    policy: StsPolicy
    policy_id: str
    seconds: float


class Keeper(Protocol):
    """Keeps policies over a restart."""

    def load(self) -> Iterable[KnownPolicy]:
        """Give what was kept and is still to be believed."""
        ...

    async def keep(self, known: KnownPolicy) -> None:
        """Keep one; what cannot be kept is only forgotten."""
        ...


class StsPolicies:
    """The policies of recipient domains."""

    def __init__(
        self,
        resolver: Resolver,
        fetch: Fetch,
        *,
        entries: int = 10_000,
        clock: Callable[[], float] = monotonic,
        keeper: Keeper | None = None,
    ) -> None:
        """Look for records with `resolver`, get policies with `fetch`, begin with what was kept."""
        self._resolver = resolver
        self._fetch = fetch
        self._keeper = keeper
        self._known: Cache[str, KnownPolicy] = Cache(entries, clock=clock)
        self._looked: Cache[str, bool] = Cache(entries, clock=clock)
        self._locks: dict[str, asyncio.Lock] = {}
        for known in keeper.load() if keeper is not None else ():
            self._known.put(known.domain, known, known.seconds)

    async def policy(self, domain: str) -> StsPolicy | None:
        """Give the policy in force, None where there is none."""
        if self._looked.get(domain) is None:
            lock = self._locks.setdefault(domain, asyncio.Lock())
            try:
                async with lock:
                    if self._looked.get(domain) is None:
                        await self._look(domain)
                        self._looked.put(domain, True, _LOOK_AGAIN)
            finally:
                if not lock.locked():
                    self._locks.pop(domain, None)
        known = self._known.get(domain)
        return known.policy if known is not None else None

    async def _look(self, domain: str) -> None:
        policy_id = await self._policy_id(domain)
        known = self._known.get(domain)
        if not policy_id or (known is not None and known.policy_id == policy_id):
            return
        try:
            policy = read_policy(await self._fetch(domain))
        except StsError:
            return  # what is known stays in force
        seconds = float(policy.max_age)
        fresh = KnownPolicy(domain=domain, policy=policy, policy_id=policy_id, seconds=seconds)
        self._known.put(domain, fresh, seconds)
        if self._keeper is not None:
            await self._keeper.keep(fresh)

    async def _policy_id(self, domain: str) -> str:
        """Give the id of the record, "" where there is none or more than one."""
        try:
            answer = await self._resolver.txt(f"_mta-sts.{domain}")
        except (NoSuchNameError, DnsTroubleError):
            return ""
        records = [record for record in answer.records if record.startswith("v=STSv1")]
        found = _ID.fullmatch(records[0].strip()) if len(records) == 1 else None
        return found[1] if found else ""


class HttpsFetch:
    """Fetches policies with aiohttp."""

    def __init__(
        self,
        resolver: Resolver,
        *,
        context: ssl.SSLContext | None = None,
        port: int = 443,
        allow_private: bool = False,
        seconds: float = 30.0,
    ) -> None:
        """Trust `context` (default: the system's authorities)."""
        self._resolver = resolver
        self._context = context
        self._port = port
        self._allow_private = allow_private
        self._timeout = aiohttp.ClientTimeout(total=seconds)

    async def __call__(self, domain: str) -> str:
        """Give the policy text of a domain; raises StsError."""
        connector = aiohttp.TCPConnector(
            resolver=_Addresses(self._resolver, allow_private=self._allow_private),
            use_dns_cache=False,
            ssl=self._context if self._context is not None else True,
        )
        host = f"mta-sts.{domain}" if self._port == 443 else f"mta-sts.{domain}:{self._port}"
        url = f"https://{host}/.well-known/mta-sts.txt"
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=self._timeout) as session,
                session.get(url, allow_redirects=False) as response,
            ):
                if response.status != 200:
                    raise StsError(f"{url} answered {response.status}, 200 is expected")
                body = b""
                async for piece in response.content.iter_chunked(16_384):
                    body += piece
                    if len(body) > _MAX_POLICY:
                        raise StsError(f"{url} is longer than {_MAX_POLICY} bytes")
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            raise StsError(f"{url} cannot be fetched: {type(error).__name__}") from None
        return body.decode("utf-8", "replace")


class _Addresses(AbstractResolver):
    """Gives aiohttp the addresses that our resolver knows, public ones only."""

    def __init__(self, resolver: Resolver, *, allow_private: bool) -> None:
        self._resolver = resolver
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found: list[ResolveResult] = []
        for kind, number in (("A", socket.AF_INET), ("AAAA", socket.AF_INET6)):
            try:
                answer = await self._resolver.addresses(host, kind)
            except (NoSuchNameError, DnsTroubleError):
                continue
            found += [
                ResolveResult(
                    hostname=host,
                    host=address,
                    port=port,
                    family=number,
                    proto=0,
                    flags=socket.AI_NUMERICHOST,
                )
                for address in answer.records
                if self._allow_private or is_public(address)
            ]
        if not found:
            raise OSError(None, f"{host} has no usable address")
        return found

    async def close(self) -> None:
        """Hold nothing open."""

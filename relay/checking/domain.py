"""What a sending domain needs so that its mail is believed, checked against DNS and the network.

Guarantees: each finding says in words what was found and what was expected, and gives the record to
publish; "it is wrong" and "nobody could tell" are different states; every question has a time
limit. Nothing is sent: port 25 is opened and closed after the greeting.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

from relay.checking.spf import Dns, Evaluation, records_of
from relay.delivery.mx.resolver import Answer, DnsTroubleError, NoSuchNameError

_SECONDS = 10.0
OK, WARNING, FAILED, UNKNOWN = "ok", "warning", "FAILED", "unknown"


class FullDns(Dns, Protocol):
    """DNS with names of addresses."""

    async def pointers(self, address: str) -> Answer:
        """Give the PTR records of an address."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing checked; `publish` are lines for a zone file."""

    what: str
    state: str
    words: str
    publish: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How the domain is set up here. `keys`: record name and text; `records`: zone lines by
    purpose.
    """

    domain: str
    hostname: str
    return_path: str
    tracking_url: str
    keys: Sequence[tuple[str, str]]
    records: dict[str, tuple[str, ...]]
    sources: tuple[str, ...] = ()  # empty: those of the hostname
    direct: bool = True  # mail goes straight to MX hosts, not by a next hop
    unsubscribe: bool = False
    port: int = 25
    try_domain: str = ""  # whose MX hosts are tried for port 25
    authorities: ssl.SSLContext | None = field(default=None, repr=False)


async def check_domain(dns: FullDns, wanted: Wanted) -> AsyncIterator[Finding]:
    """Give one finding after the other."""
    checks: list[tuple[str, Callable[[], Awaitable[list[Finding]]]]] = [
        ("dkim", lambda: _dkim(dns, wanted)),
        ("spf", lambda: _spf(dns, wanted, wanted.domain, "spf")),
        ("dmarc", lambda: _dmarc(dns, wanted)),
        ("return-path-mx", lambda: _return_path_mx(dns, wanted)),
        ("return-path-spf", lambda: _spf(dns, wanted, wanted.return_path, "return-path-spf")),
        ("tracking", lambda: _tracking(dns, wanted)),
        ("ptr", lambda: _pointers(dns, wanted)),
        ("port-25", lambda: _port(dns, wanted)),
        ("one-click", lambda: _one_click(wanted)),
    ]
    for what, check in checks:
        try:
            found = await check()
        except DnsTroubleError as problem:
            found = [Finding(what=what, state=UNKNOWN, words=str(problem))]
        for one in found:
            yield one


async def _dkim(dns: FullDns, wanted: Wanted) -> list[Finding]:
    if not wanted.keys:
        return [Finding(what="dkim", state=FAILED, words="the domain has no DKIM key here")]
    findings = []
    for name, text in wanted.keys:
        published = await _texts(dns, name)
        line = tuple(one for one in wanted.records.get("dkim", ()) if one.startswith(f"{name}."))
        state, words = FAILED, f"{name}: nothing is published"
        if published:
            same = any(_tag(one, "p") == _tag(text, "p") for one in published)
            state = OK if same and len(published) == 1 else FAILED
            words = f"{name}: our key" if same else f"{name}: another key than ours is published"
            if same and len(published) > 1:
                words = f"{name}: {len(published)} records; receivers expect one"
        publish = () if state == OK else line
        findings.append(Finding(what="dkim", state=state, words=words, publish=publish))
    return findings


async def _spf(dns: FullDns, wanted: Wanted, domain: str, what: str) -> list[Finding]:
    publish = wanted.records.get(what, ())
    found = await records_of(dns, domain)
    if len(found) != 1:
        words = f"{domain}: {len(found)} SPF records, one is expected"
        # Receivers look at the return path's domain; From's own record only helps.
        state = WARNING if what == "spf" and not found else FAILED
        return [Finding(what=what, state=state, words=words, publish=publish)]
    if not wanted.direct:
        words = f"{domain}: there is a record; the next hop's addresses must be in it"
        return [Finding(what=what, state=WARNING, words=words)]
    wrong = []
    sources = await _sources(dns, wanted)
    for address in sources:
        said = await Evaluation(dns, address).result(domain)
        if said != "pass":
            wrong.append(f"{address} is answered by {said}")
    if wrong or not sources:
        words = f"{domain}: " + ("; ".join(wrong) or "no address of ours is known")
        return [Finding(what=what, state=FAILED, words=words, publish=publish)]
    return [Finding(what=what, state=OK, words=f"{domain}: lets {', '.join(sources)} send")]


async def _dmarc(dns: FullDns, wanted: Wanted) -> list[Finding]:
    name, publish = f"_dmarc.{wanted.domain}", wanted.records.get("dmarc", ())
    found = [one for one in await _texts(dns, name) if one.lower().startswith("v=dmarc1")]
    policy = _tag(found[0], "p").lower() if len(found) == 1 else ""
    if policy not in ("none", "quarantine", "reject"):
        words = f"{name}: {len(found)} DMARC records" + (", without a policy" if found else "")
        return [Finding(what="dmarc", state=FAILED, words=words, publish=publish)]
    strict = _tag(found[0], "aspf").lower() == "s"
    same = wanted.return_path == wanted.domain
    below = wanted.return_path.endswith(f".{wanted.domain}")
    aligned = same or (below and not strict)
    words = f"{name}: p={policy}; DKIM is aligned (we sign as {wanted.domain}), SPF is "
    words += "aligned" if aligned else f"not (the return path is at {wanted.return_path})"
    # DKIM alone is enough for DMARC; a return path of its own makes it two.
    return [Finding(what="dmarc", state=OK if aligned else WARNING, words=words)]


async def _return_path_mx(dns: FullDns, wanted: Wanted) -> list[Finding]:
    name = wanted.return_path
    publish = wanted.records.get("return-path-mx") or (f"{name}. IN MX 10 {wanted.hostname}.",)
    try:
        found = [one.split()[-1].rstrip(".").lower() for one in (await dns.mx(name)).records]
    except NoSuchNameError:
        found = []
    if wanted.hostname.lower() in found:
        return [Finding(what="return-path-mx", state=OK, words=f"{name}: {', '.join(found)}")]
    said = ", ".join(found) or "nothing"
    words = f"{name}: MX is {said}; bounces must come to {wanted.hostname}"
    return [Finding(what="return-path-mx", state=FAILED, words=words, publish=publish)]


async def _tracking(dns: FullDns, wanted: Wanted) -> list[Finding]:
    parts = urlsplit(wanted.tracking_url)
    host = parts.hostname or ""
    publish = wanted.records.get("tracking", ())
    addresses = await _addresses(dns, host)
    if not addresses:
        words = f"{host}: has no address"
        return [Finding(what="tracking", state=FAILED, words=words, publish=publish)]
    if parts.scheme != "https":
        words = f"{wanted.tracking_url}: links go over plain HTTP; expected https"
        return [Finding(what="tracking", state=WARNING, words=words)]
    context = wanted.authorities or ssl.create_default_context()
    problem = await _connects(addresses[0], parts.port or 443, host, context)
    words = f"{host}: {problem or 'resolves, and its certificate is good'}"
    return [Finding(what="tracking", state=FAILED if problem else OK, words=words)]


async def _pointers(dns: FullDns, wanted: Wanted) -> list[Finding]:
    if not wanted.direct:
        words = "the next hop sends; its address needs a name of its own"
        return [Finding(what="ptr", state=OK, words=words)]
    findings = []
    for address in await _sources(dns, wanted):
        try:
            names = [one.rstrip(".").lower() for one in (await dns.pointers(address)).records]
        except NoSuchNameError:
            names = []
        forward = [name for name in names if address in await _addresses(dns, name)]
        line = f"{ipaddress.ip_address(address).reverse_pointer}. IN PTR {wanted.hostname}."
        state = OK
        publish: tuple[str, ...] = ()
        words = f"{address}: {', '.join(forward)}"
        if not forward:
            state, publish = FAILED, (line,)
            words = f"{address}: {', '.join(names) or 'no name'} does not lead back to it"
        elif wanted.hostname.lower() not in forward:
            state = WARNING
            words += f"; expected {wanted.hostname}, the name we say in EHLO"
        findings.append(Finding(what="ptr", state=state, words=words, publish=publish))
    if not findings:
        words = f"no address to send from: {wanted.hostname} has none, and none is set"
        findings.append(Finding(what="ptr", state=FAILED, words=words))
    return findings


async def _port(dns: FullDns, wanted: Wanted) -> list[Finding]:
    if not wanted.direct:
        return [Finding(what="port-25", state=OK, words="not needed: a next hop sends")]
    hosts = [one.split() for one in (await dns.mx(wanted.try_domain)).records]
    for _, host in sorted((int(preference), name) for preference, name in hosts)[:3]:
        for address in (await _addresses(dns, host.rstrip(".")))[:1]:
            problem = await _connects(address, wanted.port, "", None)
            if not problem:
                words = f"{host.rstrip('.')} ({wanted.try_domain}) greets us"
                return [Finding(what="port-25", state=OK, words=words)]
    words = f"no MX host of {wanted.try_domain} could be reached: many networks block port 25 out"
    return [Finding(what="port-25", state=FAILED, words=words)]


async def _one_click(wanted: Wanted) -> list[Finding]:
    secure = wanted.tracking_url.startswith("https://")
    state = OK if wanted.unsubscribe and secure else WARNING
    words = "List-Unsubscribe with one click is added (RFC 8058)"
    if not wanted.unsubscribe:
        words = "not added by us: the application has to (RFC 8058), or switch it on for the domain"
    elif not secure:
        words += ", but over plain HTTP: providers expect https"
    return [Finding(what="one-click", state=state, words=words)]


async def _sources(dns: FullDns, wanted: Wanted) -> tuple[str, ...]:
    return wanted.sources or tuple(await _addresses(dns, wanted.hostname))


async def _addresses(dns: FullDns, name: str) -> list[str]:
    found: list[str] = []
    for family in ("A", "AAAA"):
        try:
            found += (await dns.addresses(name, family)).records
        except NoSuchNameError:
            return []
    return found


async def _texts(dns: FullDns, name: str) -> list[str]:
    try:
        return list((await dns.txt(name)).records)
    except NoSuchNameError:
        return []


def _tag(record: str, name: str) -> str:
    """Give a tag's value (`p=...`) without white space, "" where it is missing."""
    for one in record.split(";"):
        key, _, value = one.partition("=")
        if key.strip().lower() == name:
            return re.sub(r"\s", "", value)
    return ""


async def _connects(address: str, port: int, host: str, tls: ssl.SSLContext | None) -> str:
    """Connect, by TLS or until a greeting comes; gives what was wrong, "" for nothing."""
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_connection(
                address, port, ssl=tls, server_hostname=host if tls else None
            )
            try:
                greeting = b"" if tls else await reader.read(3)
            finally:
                writer.close()
    except ssl.SSLCertVerificationError as problem:
        return f"its certificate is not good: {problem.verify_message}"
    except (OSError, TimeoutError) as problem:
        return f"no connection: {str(problem) or 'timed out'}"
    return "" if tls or greeting == b"220" else "no greeting"

"""What to publish in DNS for a sending domain, as records and as lines for a zone file. Pure.

Guarantees: every record names its purpose; a value longer than 255 octets is split into strings
(RFC 1035 section 3.3.14). What is published already is for `waypost check` to find out.
"""

from __future__ import annotations

import msgspec

from relay.control.operations.words import Entry

_STRING = 255


class NodeNames(msgspec.Struct, frozen=True, kw_only=True):
    """What this installation calls itself, for the records that point at it."""

    hostname: str  # of the relay, as it says in EHLO
    return_path: str  # default domain of return paths, whose MX is our inbound listener
    tracking_url: str  # default, such as "https://t.shop.test"
    addresses: tuple[str, ...] = ()  # that mail leaves from; empty where the next hop sends it
    pools: frozenset[str] = frozenset()  # of these addresses, by name


class DnsRecord(Entry, frozen=True):
    """One record to publish."""

    purpose: str  # dkim, spf, dmarc, return-path-mx, return-path-spf, tracking
    name: str
    type: str
    value: str
    line: str  # the same for a zone file
    required: bool = True
    remark: str = ""


def records(
    domain: str,
    keys: tuple[tuple[str, str], ...],
    *,
    return_path: str,
    tracking_host: str,
    node: NodeNames,
) -> tuple[DnsRecord, ...]:
    """Give the records for a domain with these DKIM keys (selector, text).

    `return_path` and `tracking_host` are the domain's own, or "" where it takes the node's.
    """
    found = [
        _record(
            "dkim",
            f"{selector}._domainkey.{domain}",
            "TXT",
            text,
            remark="Ed25519 beside RSA; some receivers only read RSA" if "ed25519" in text else "",
        )
        for selector, text in keys
    ]
    sources = "".join(f" ip{6 if ':' in address else 4}:{address}" for address in node.addresses)
    # Receivers check SPF for the return path's domain; From's own record helps alignment.
    found.append(
        _record(
            "spf",
            domain,
            "TXT",
            f"v=spf1{sources} a:{node.hostname} ~all",
            required=False,
            remark="merge with the record that is there: a domain has one SPF record",
        )
    )
    found.append(
        _record(
            "dmarc",
            f"_dmarc.{domain}",
            "TXT",
            f"v=DMARC1; p=none; rua=mailto:postmaster@{domain}",
            remark="move on to p=quarantine or p=reject once the reports are clean",
        )
    )
    if return_path:
        found.append(_record("return-path-mx", return_path, "MX", f"10 {node.hostname}."))
        found.append(
            _record(
                "return-path-spf", return_path, "TXT", f"v=spf1{sources} a:{node.hostname} -all"
            )
        )
    if tracking_host:
        target = node.tracking_url.split("//")[-1].split("/")[0].split(":")[0]
        found.append(_record("tracking", tracking_host, "CNAME", f"{target}."))
    return tuple(found)


def _record(
    purpose: str, name: str, kind: str, value: str, *, required: bool = True, remark: str = ""
) -> DnsRecord:
    written = value
    if kind == "TXT":
        pieces = [value[start : start + _STRING] for start in range(0, len(value), _STRING)]
        written = " ".join(f'"{piece}"' for piece in pieces)
    return DnsRecord(
        purpose=purpose,
        name=name,
        type=kind,
        value=value,
        line=f"{name}. IN {kind} {written}",
        required=required,
        remark=remark,
    )

"""Which addresses mail may be sent to: a relay that follows every MX is a port scanner.

Private, loopback, link-local, multicast, unspecified, documentation and other reserved addresses
are refused, also when they come wrapped in IPv6 (mapped, 6to4, Teredo, NAT64).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Tell whether an address is one of the public internet; False for what is no address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return all(_is_global(part) for part in _unwrapped(parsed))


def _unwrapped(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """Give the address and the IPv4 addresses inside it."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    found: list[IPv4Address | IPv6Address] = [address]
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found.extend(address.teredo)
    if address in _NAT64:
        return [IPv4Address(int(address) & 0xFFFFFFFF)]
    return found


def _is_global(address: IPv4Address | IPv6Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved

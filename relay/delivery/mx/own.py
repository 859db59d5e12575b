"""Which addresses are ourselves: mail sent there would come back.

Those that mail leaves from, and those where this node listens on the port that MX hosts are
reached at. Behind an address translator the outer address is not known here: name it among the
source addresses, or rely on the bound of Received fields.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from relay.layout import split_endpoint

_EVERY = ("", "0.0.0.0", "::")  # noqa: S104  # read from the settings, not bound here
_DISCARD = 9  # any port would do


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnAddresses:
    """Use with `in`. `every`: all addresses of this machine are ours."""

    named: frozenset[str] = frozenset()
    every: bool = False

    def __contains__(self, address: object) -> bool:
        """Tell whether an address is ours."""
        return address in self.named or (self.every and _is_local(str(address)))


def own_addresses(sources: Iterable[str], doors: Iterable[str], port: int) -> OwnAddresses:
    """Give our addresses: `sources` that mail leaves from, `doors` ("host:port") that we listen
    at.
    """
    hosts = {host for host, at in map(split_endpoint, filter(None, doors)) if at == port}
    return OwnAddresses(
        named=frozenset(sources) | (hosts - set(_EVERY)), every=not hosts.isdisjoint(_EVERY)
    )


def _is_local(text: str) -> bool:
    """Tell whether this machine has the address. Nothing is sent.

    That an address can be bound says nothing where `ip_nonlocal_bind` is set. An IPv4 socket whose
    own address is not this machine's cannot be connected; an IPv6 socket that is not bound and is
    connected to an address of this machine takes the same as its own (RFC 6724 section 5, rule 1).
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.setblocking(False)
            if family == socket.AF_INET:
                # Unbound it would take the first address of the network, whichever is asked for.
                probe.bind((str(address), 0))
            probe.connect((str(address), _DISCARD))
            own = ipaddress.ip_address(probe.getsockname()[0])
    except OSError:
        return False
    return address.is_unspecified or own == address

"""Which addresses are ourselves: mail sent there would come back.

Those that mail leaves from, and those where this node listens on the port that MX hosts are
reached at. Behind an address translator the outer address is not known here: name it among the
source addresses, or rely on the bound of Received fields.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass

from relay.layout import split_endpoint

_EVERY = ("", "0.0.0.0", "::")  # noqa: S104  # read from the settings, not bound here


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


def _is_local(address: str) -> bool:
    """Tell whether an interface of this machine has the address: only then can it be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True

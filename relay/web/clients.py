"""Who is asking: the client's address behind configured proxies, and nobody else's word for it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from aiohttp import web

_MAX_HOPS = 32


class ClientAddress:
    """Tells the client's address: the peer's, or behind trusted proxies the right-most hop that is
    not one of them.
    """

    def __init__(self, trusted: Sequence[str]) -> None:
        """Take the proxies' networks in CIDR form; raises ValueError for anything else."""
        self._trusted = [ipaddress.ip_network(network) for network in trusted]

    def of(self, request: web.BaseRequest) -> str:
        """Give the address as text, "" where the peer has none."""
        peer = request.remote or ""
        if not self._trusted or not self._is_trusted(peer):
            return peer
        hops = request.headers.get("X-Forwarded-For", "").split(",")[-_MAX_HOPS:]
        for hop in reversed([part.strip() for part in hops]):
            try:
                address = str(ipaddress.ip_address(hop))
            except ValueError:
                return peer
            if not self._is_trusted(address):
                return address
        return peer

    def _is_trusted(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._trusted)

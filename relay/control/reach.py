"""Whether a tracking host can be reached: the one connection that control makes to where a tenant
says.

Guarantees: it goes to a public address and to a web port (80, 443, or that of the node's own
host), unless the operator allows more; the addresses are looked at after they were resolved, and
the connection goes to the one that was looked at, whatever the name says a moment later. Nothing
is sent but a TLS handshake, nothing is read, no redirect can be followed, and what a tenant is told
is the same for a name that is unknown and for one with none but private addresses. The node's own
host is the operator's choice and free of all that.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from urllib.parse import SplitResult, urlsplit

from relay.delivery.mx.guard import is_public

_ANSWER_SECONDS = 10.0
_MOST_ADDRESSES = 4
_WEB_PORTS = frozenset({80, 443})


class Reach:
    """Tries hosts by their URL."""

    def __init__(self, own: str = "", *, anywhere: bool = False) -> None:
        """Take the URL of the node's own host, and whether private addresses and other ports are
        allowed.
        """
        self._own = own
        self._anywhere = anywhere
        self._ports = _WEB_PORTS | ({port_of(urlsplit(own))} if own else set())

    def objection(self, url: str) -> str:
        """Say why a host is not even tried, as far as its URL tells; "" if it may be tried."""
        if self._is_free(url):
            return ""
        parts = urlsplit(url)
        try:
            port = port_of(parts)
        except ValueError:
            return "a port is a number from 0 to 65535"
        if port not in self._ports:
            known = ", ".join(map(str, sorted(self._ports)))
            return f"port {port} is not one of {known} (tracking.allow_private_hosts)"
        name = parts.hostname or ""
        if name.replace(".", "").isdigit() and not is_public(name):
            return f"{name} is not a public address (tracking.allow_private_hosts)"
        return ""

    async def why_not(self, url: str) -> str:
        """Resolve, connect, and for https verify the certificate; gives what failed, or ""."""
        objection = self.objection(url)
        if objection:
            return objection
        parts = urlsplit(url)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                addresses = await self._addresses(parts, free=self._is_free(url))
                return await _first_that_answers(parts, addresses)
        except TimeoutError:
            return f"no answer within {_ANSWER_SECONDS:.0f} s"
        except ValueError as problem:  # a port beyond 65,535, a name too long
            return str(problem)

    def _is_free(self, url: str) -> bool:
        return self._anywhere or url == self._own

    async def _addresses(self, parts: SplitResult, *, free: bool) -> list[str]:
        """Give the addresses of a host that may be connected to."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(parts.hostname, port_of(parts), type=socket.SOCK_STREAM)
        except OSError:
            return []
        addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
        return [each for each in addresses if free or is_public(each)][:_MOST_ADDRESSES]


def port_of(parts: SplitResult) -> int:
    """Give the port of a URL; raises ValueError for one beyond 65,535."""
    port = parts.port
    if port is None:
        return 443 if parts.scheme == "https" else 80
    return port


async def _first_that_answers(parts: SplitResult, addresses: list[str]) -> str:
    wrong = f"no public address is known for {parts.hostname}"
    for address in addresses:
        wrong = await _one(parts, address)
        if not wrong:
            return ""
    return wrong


async def _one(parts: SplitResult, address: str) -> str:
    """Connect to one address."""
    secure = parts.scheme == "https"
    try:
        _, writer = await asyncio.open_connection(
            address,
            port_of(parts),
            ssl=ssl.create_default_context() if secure else None,
            server_hostname=parts.hostname if secure else None,
        )
    except ssl.SSLCertVerificationError as problem:
        return f"certificate: {problem.verify_message}"
    except ssl.SSLError as problem:
        return f"TLS: {problem.reason or problem}"
    except OSError as problem:
        return str(problem)
    writer.close()
    return ""

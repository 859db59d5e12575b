"""How to reach a destination: the route that was configured for it, and the hosts it comes down to.

Values and one seam. `Hosts` turns a route into targets, in the order in which they are tried;
`Smarthosts` below does it for a fixed next hop, `relay.delivery.mx` for the MX of a domain.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from relay.delivery.hello import Login
from relay.errors import WaypostError


class TlsLevel(IntEnum):
    """What is asked of the connection; a higher level includes the lower ones."""

    NONE = 0  # never TLS
    OPPORTUNISTIC = 1  # TLS if offered, in the clear if that fails
    REQUIRED = 2  # TLS or nothing; any certificate
    VERIFIED = 3  # TLS with a certificate for the host's name, or nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Smarthost:
    """A fixed next hop. `implicit_tls` talks TLS from the first byte (port 465)."""

    host: str
    port: int = 25
    implicit_tls: bool = False
    login: Login | None = None
    clear_login: bool = False  # the login may go out without TLS (loopback, tests)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How mail for one destination travels; equal routes share connections.

    `destination` is what dispatch groups by: a recipient domain (A-label), or the name of a
    smarthost. Without a smarthost the MX of the destination is asked. `source` is the local address
    to send from, "" for any.
    """

    destination: str
    smarthost: Smarthost | None = None
    tls: TlsLevel = TlsLevel.OPPORTUNISTIC
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsaRecord:
    """A usable TLSA record (RFC 6698 section 2.1), its answer validated: usage 2 or 3."""

    usage: int
    selector: int
    matching: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One address to connect to, and what must hold there.

    `name` is the host's name as the route or the MX says it; `policy` names what decided `tls` ("",
    "sts", "dane") for the TLS counters; `tlsa` holds usable DANE records, which replace certificate
    authorities.
    """

    name: str
    address: str
    port: int = 25
    tls: TlsLevel = TlsLevel.OPPORTUNISTIC
    implicit_tls: bool = False
    login: Login | None = None
    clear_login: bool = False
    source: str = ""
    policy: str = ""
    tlsa: tuple[TlsaRecord, ...] = ()
    provider: str = ""

    @property
    def endpoint(self) -> tuple[str, int]:
        """Give address and port, under which failures of this target are remembered."""
        return self.address, self.port


class NoHostsError(WaypostError):
    """A destination has no host to try. `permanent`: asking again will not help; `enhanced` is the
    RFC 3463 code.
    """

    def __init__(self, enhanced: str, text: str, *, permanent: bool) -> None:
        """Keep the code and one plain sentence."""
        super().__init__(text)
        self.enhanced = enhanced
        self.permanent = permanent


class Hosts(Protocol):
    """Finds the targets of a route."""

    async def targets(self, route: Route) -> Sequence[Target]:
        """Give at least one target, best first; raises NoHostsError."""
        ...


class Smarthosts:
    """Finds the addresses of smarthosts with the system's resolver."""

    async def targets(self, route: Route) -> Sequence[Target]:
        """Give the addresses of the route's smarthost; raises NoHostsError (never permanent: it is
        our setting).
        """
        smarthost = route.smarthost
        if smarthost is None:
            text = f"no smarthost is configured for {route.destination}"
            raise NoHostsError("4.4.4", text, permanent=False)
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(
                smarthost.host, smarthost.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
            )
        except (OSError, UnicodeError) as error:
            text = f"the name {smarthost.host} cannot be resolved: {error}"
            raise NoHostsError("4.4.3", text, permanent=False) from None
        addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
        return [
            Target(
                name=smarthost.host,
                address=address,
                port=smarthost.port,
                tls=route.tls,
                implicit_tls=smarthost.implicit_tls,
                login=smarthost.login,
                clear_login=smarthost.clear_login,
                source=route.source if (":" in route.source) == (":" in address) else "",
            )
            for address in addresses
        ]

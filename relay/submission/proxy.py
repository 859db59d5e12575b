"""The PROXY protocol, versions 1 and 2: who the client behind a load balancer is.

Only configured peers may say it, and they must. The header is read from the bare socket, octet for
octet, before TLS and before any byte is a command, so that it survives STARTTLS and cannot be
smuggled in later. A header that is wrong, too long or too slow closes the connection.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Iterable

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
SECONDS = 3.0
_SHORTEST = len(b"PROXY UNKNOWN\r\n")
_V1_LIMIT = 107  # with CRLF
_V2_LIMIT = 2048  # of what follows the fixed part; addresses need 36, the rest are options
_V1 = re.compile(rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) [0-9]{1,5} [0-9]{1,5}\r\n")
_SIZES = {0x11: 12, 0x21: 36}

Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


class ProxyError(ValueError):
    """The header is not one."""


def networks(texts: Iterable[str]) -> Networks:
    """Read networks such as `10.0.0.0/8`; raises ValueError."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def is_trusted(address: str, trusted: Networks) -> bool:
    """Whether `address` lies in one of the networks."""
    if not trusted:
        return False
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if parsed.version == 6 and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in trusted)


async def read_source(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> str | None:
    """Read one header and nothing after it from a non-blocking socket.

    Gives the client's address, or None where the proxy speaks for itself (UNKNOWN, LOCAL). Raises
    ProxyError, TimeoutError after SECONDS, ConnectionError or another OSError.
    """
    async with asyncio.timeout(SECONDS):
        head = await _exactly(loop, connection, _SHORTEST)
        if head[: len(SIGNATURE)] == SIGNATURE:
            head += await _exactly(loop, connection, 1)
            size = int.from_bytes(head[14:16], "big")
            if size > _V2_LIMIT:
                raise ProxyError("the header is too long")
            return parse_v2(head, await _exactly(loop, connection, size))
        if head[:6] != b"PROXY ":
            raise ProxyError("no PROXY header")
        while head[-1:] != b"\n":
            if len(head) >= _V1_LIMIT:
                raise ProxyError("the header is too long")
            head += await _exactly(loop, connection, 1)
        return parse_v1(head)


def parse_v1(line: bytes) -> str | None:
    """Read a whole line of version 1, with its CRLF. Raises ProxyError."""
    if line[:13] == b"PROXY UNKNOWN" and line[13:14] in (b" ", b"\r") and line[-2:] == b"\r\n":
        return None
    found = _V1.fullmatch(line)
    if found is None:
        raise ProxyError("the line is not a PROXY header")
    return _address(found.group(2).decode("ascii"), 4 if found.group(1) == b"TCP4" else 6)


def parse_v2(head: bytes, body: bytes) -> str | None:
    """Read the 16 fixed octets and what follows them of version 2. Raises ProxyError."""
    if head[:12] != SIGNATURE or head[12] not in (0x20, 0x21):
        raise ProxyError("the header is not of version 2")
    if head[12] == 0x20 or head[13] == 0x00:
        return None
    size = _SIZES.get(head[13])
    if size is None or len(body) < size:
        raise ProxyError("the header has no TCP addresses")
    return str(ipaddress.ip_address(body[:4] if size == 12 else body[:16]))


def _address(text: str, version: int) -> str:
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        raise ProxyError("the header has no valid address") from None
    if parsed.version != version:
        raise ProxyError("the address is of the wrong kind")
    return str(parsed)


async def _exactly(loop: asyncio.AbstractEventLoop, connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = await loop.sock_recv(connection, size - len(data))
        if not chunk:
            raise ConnectionResetError("the connection ended within the header")
        data += chunk
    return data

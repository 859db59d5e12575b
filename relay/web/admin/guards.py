"""What is checked of every request on the admin listener before anything else happens.

Guarantees: a Host outside the allow-list is refused (DNS rebinding), compressed bodies are not
taken (bombs), a body over its route's bound is refused while it is read, and answers carry headers
that keep browsers from guessing, framing or caching.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable

from aiohttp import web

from relay.control.calling import MediaTypeError
from relay.errors import OperationError

_BODY_SECONDS = 60
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class MisdirectedError(OperationError):
    """The Host header names something else than this listener."""

    status = 421
    slug = "misdirected"


class TooLargeError(OperationError):
    """The body is larger than the address takes."""

    status = 413
    slug = "too-large"


def is_operator(request: web.Request) -> bool:
    """Tell whether the request came through the operator's unix socket."""
    transport = request.transport
    found = transport.get_extra_info("socket") if transport is not None else None
    return found is not None and found.family == socket.AF_UNIX


class TooSlowError(OperationError):
    """The body takes too long to come."""

    status = 408
    slug = "too-slow"


class HostGuard:
    """The allow-list of Host headers."""

    def __init__(self, allowed: Iterable[str]) -> None:
        """Take host names without ports; IPv6 addresses in brackets."""
        self._allowed = frozenset(name.lower() for name in allowed)

    def check(self, request: web.Request) -> None:
        """Raise MisdirectedError unless the request is for us."""
        if is_operator(request):
            return
        hosts = request.headers.getall("Host", [])
        if len(hosts) == 1 and _without_port(hosts[0]) in self._allowed:
            return
        raise MisdirectedError("this listener does not answer for the host that was asked for")


async def read_body(request: web.Request, limit: int) -> bytes:
    """Read a body of at most `limit` octets; raises TooLargeError or MediaTypeError."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise MediaTypeError("compressed bodies are not taken")
    if (request.content_length or 0) > limit:
        raise TooLargeError(f"at most {limit} octets are expected")
    pieces = []
    size = 0
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for piece in request.content.iter_any():
                size += len(piece)
                if size > limit:
                    raise TooLargeError(f"at most {limit} octets are expected")
                pieces.append(piece)
    except TimeoutError:
        raise TooSlowError(f"the body did not come within {_BODY_SECONDS} seconds") from None
    return b"".join(pieces)


def harden(response: web.StreamResponse) -> None:
    """Add the headers that every answer carries, unless the handler has set its own."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)


def _without_port(host: str) -> str:
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdigit() else host.lower()

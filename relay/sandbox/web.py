"""The HTTP door of the sandbox: asks the tracking listener on this machine, and nobody else.

Guarantees: a URL is fetched only if its host is one of the tracking hosts given, and then always
by connecting to the listener given, never by resolving the host; path and query go out octet for
octet as they stand in the link; no redirect is followed; answer and time are bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass

from relay.sandbox.reading import host_of

MAX_ANSWER = 262_144
_REFUSED = re.compile(r"[\x00-\x20\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What the listener answered; status 0 when it was not asked or did not answer, with the
    reason in `problem`.
    """

    url: str
    status: int = 0
    location: str = ""
    body: bytes = b""
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """Where the tracking listener is, and under which hosts (with port if the URL has one) it is
    known.
    """

    listener: tuple[str, int]
    hosts: frozenset[str]
    seconds: float = 10.0

    def knows(self, url: str) -> bool:
        """Tell whether a URL is on a tracking host."""
        return host_of(url) in self.hosts

    async def get(self, url: str, headers: dict[str, str] | None = None) -> Fetched:
        """Ask for a URL."""
        return await self._ask("GET", url, headers or {}, b"")

    async def head(self, url: str, headers: dict[str, str] | None = None) -> Fetched:
        """Ask for a URL's header only."""
        return await self._ask("HEAD", url, headers or {}, b"")

    async def post(self, url: str, form: bytes, headers: dict[str, str] | None = None) -> Fetched:
        """Send a form."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return await self._ask("POST", url, {**kind, **(headers or {})}, form)

    async def _ask(self, method: str, url: str, headers: dict[str, str], body: bytes) -> Fetched:
        if not self.knows(url) or _REFUSED.search(url):
            return Fetched(url=url, problem="not a link of the tracking host: not fetched")
        target = "/" + url.split("://", 1)[1].partition("#")[0].partition("/")[2]
        fields = {"Host": host_of(url), "Connection": "close", **headers}
        if body:
            fields["Content-Length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        request = f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body
        try:
            async with asyncio.timeout(self.seconds):
                answer = await self._exchange(request)
        except (OSError, EOFError, TimeoutError) as problem:
            return Fetched(url=url, problem=f"{type(problem).__name__}: {problem}")
        return _read(url, answer)

    async def _exchange(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self.listener)
        try:
            writer.write(request)
            await writer.drain()
            answer = b""
            while len(answer) < MAX_ANSWER and (chunk := await reader.read(65_536)):
                answer += chunk
            return answer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def _read(url: str, answer: bytes) -> Fetched:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    found = re.match(r"HTTP/1\.[01] (\d{3})", first)
    if found is None:
        return Fetched(url=url, problem=f"not an HTTP answer: {first[:80]!r}")
    fields = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    return Fetched(url=url, status=int(found[1]), location=fields.get("location", ""), body=body)

"""A small SMTP client: says one command, gives the reply; for whoever acts as another mail server
or an application.

Guarantees bounds (reply length, a deadline for each step) and that content goes out dot-stuffed
and otherwise as given. It judges nothing: a refusal is a reply like any other. A broken connection
raises OSError or EOFError, a late peer TimeoutError.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from types import TracebackType
from typing import NamedTuple

from relay.sandbox.wire import Wire, stuff


class Said(NamedTuple):
    """A reply: its code and its lines joined by line feeds."""

    code: int
    text: str

    @property
    def good(self) -> bool:
        """Tell whether the command was accepted (2xx or 3xx)."""
        return 200 <= self.code < 400

    def __str__(self) -> str:
        """Give the reply on one line."""
        return f"{self.code} {self.text}".replace("\n", " / ")


class Dialogue:
    """One connection to a server; use as an async context manager."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        name: str = "client.test",
        tls: ssl.SSLContext | None = None,
        seconds: float = 30.0,
    ) -> None:
        """Prepare; `tls` wraps the connection from the start (implicit TLS), `seconds` bounds each
        step.
        """
        self._where = (host, port)
        self._name = name
        self._tls = tls
        self._seconds = seconds
        self.extensions: frozenset[str] = frozenset()

    async def __aenter__(self) -> Dialogue:
        """Connect, read the banner and say EHLO; raises ConnectionError when either is refused."""
        async with asyncio.timeout(self._seconds):
            reader, self._writer = await asyncio.open_connection(*self._where, ssl=self._tls)
        self._wire = Wire(reader)
        try:
            await self._greeted()
        except BaseException:
            self._writer.transport.abort()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Say QUIT if all went well, and close."""
        if problem is None:
            with contextlib.suppress(OSError, EOFError, TimeoutError):
                await self.say(b"QUIT")
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(self._seconds):
                await self._writer.wait_closed()

    async def _greeted(self) -> None:
        banner = await self.reply()
        if not banner.good:
            raise ConnectionError(f"the banner is {banner}")
        await self.hello()

    async def hello(self) -> None:
        """Say EHLO and note the extensions."""
        said = await self.say(b"EHLO " + self._name.encode("ascii"))
        if not said.good:
            raise ConnectionError(f"EHLO is answered by {said}")
        self.extensions = frozenset(line.split(" ")[0] for line in said.text.upper().split("\n"))

    async def starttls(self, context: ssl.SSLContext) -> None:
        """Switch to TLS (RFC 3207) and greet again; raises ConnectionError when it is refused."""
        said = await self.say(b"STARTTLS")
        if said.code != 220:
            raise ConnectionError(f"STARTTLS is answered by {said}")
        self._wire.discard()
        async with asyncio.timeout(self._seconds):
            await self._writer.start_tls(context, server_hostname=self._where[0])
        await self.hello()

    async def login(self, user: str, password: str) -> Said:
        """Say AUTH PLAIN (RFC 4616)."""
        token = base64.b64encode(f"\0{user}\0{password}".encode())
        return await self.say(b"AUTH PLAIN " + token)

    async def envelope(self, sender: bytes, recipients: tuple[bytes, ...]) -> list[Said]:
        """Say MAIL and every RCPT in one write (RFC 2920) and give all replies."""
        lines = [b"MAIL FROM:<" + sender + b">", *(b"RCPT TO:<" + r + b">" for r in recipients)]
        self._writer.write(b"\r\n".join(lines) + b"\r\n")
        return [await self.reply() for _ in lines]

    async def data(self, content: bytes) -> Said:
        """Say DATA and, after 354, the content with its final dot; gives the refusal of DATA or
        the last reply.
        """
        said = await self.say(b"DATA")
        if said.code != 354:
            return await self._given_up(said)
        return await self.content(content)

    async def content(self, content: bytes) -> Said:
        """Send the content with its final dot and read the reply."""
        self._writer.write(stuff(content))
        async with asyncio.timeout(self._seconds):
            await self._writer.drain()
        return await self.reply()

    async def send(self, sender: bytes, recipients: tuple[bytes, ...], content: bytes) -> Said:
        """Hand over one message; gives the first refusal, or the reply to the final dot."""
        for said in await self.envelope(sender, recipients):
            if not said.good:
                return await self._given_up(said)
        return await self.data(content)

    async def _given_up(self, refusal: Said) -> Said:
        if refusal.code != 421:  # 421 closes
            await self.say(b"RSET")
        return refusal

    async def say(self, line: bytes) -> Said:
        """Send one command and read its reply."""
        self._writer.write(line + b"\r\n")
        return await self.reply()

    async def reply(self) -> Said:
        """Read one reply of at most 100 lines; raises ConnectionError when it is not one."""
        lines = []
        async with asyncio.timeout(self._seconds):
            for _ in range(100):
                line = await self._wire.line()
                if not line[:3].isdigit():
                    raise ConnectionError(f"not an SMTP reply: {line[:80]!r}")
                lines.append(line[4:].decode("utf-8", "replace"))
                if line[3:4] != b"-":
                    return Said(int(line[:3]), "\n".join(lines))
        raise ConnectionError("a reply has more than 100 lines")

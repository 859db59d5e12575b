"""Bytes of one SMTP connection as a receiver wants them: a line, or everything up to the final dot.

Guarantees exactness: only CRLF ends a line and only CRLF.CRLF ends the data, whatever the chunks
were; what is given out as content is the octets on the wire with dot-stuffing undone (RFC 5321
section 4.5.2) and nothing else changed. Guarantees a bound: a line beyond `line_limit` or data
beyond `data_limit` raises OverrunError. Deadlines are the caller's.
"""

from __future__ import annotations

import asyncio

_CHUNK = 262_144


class OverrunError(Exception):
    """The peer sent more than the bound without ending its line or its data."""


class Wire:
    """Reads lines and data from a stream, with a buffer of its own that can be thrown away at
    STARTTLS.
    """

    def __init__(
        self, reader: asyncio.StreamReader, *, line_limit: int = 16_384, data_limit: int = 1 << 27
    ) -> None:
        """Wrap a stream; limits are octets."""
        self._reader = reader
        self._line_limit = line_limit
        self._data_limit = data_limit
        self._buffer = bytearray()

    @property
    def pending(self) -> bool:
        """Tell whether the peer has sent more than was asked for: replies can be gathered."""
        return bool(self._buffer)

    def discard(self) -> None:
        """Forget what was read ahead: plaintext sent before TLS began must not count (RFC 3207
        section 4.2).
        """
        self._buffer.clear()

    async def line(self) -> bytes:
        """Give the next line without its CRLF; raises EOFError when the peer is gone, OverrunError
        beyond the limit.
        """
        start = 0
        while (end := self._buffer.find(b"\r\n", start)) < 0:
            if len(self._buffer) > self._line_limit:
                raise OverrunError(f"a line is longer than {self._line_limit} octets")
            start = max(0, len(self._buffer) - 1)
            await self._more()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    async def data(self) -> bytes:
        """Give the content up to the final dot, unstuffed; raises EOFError (cut off before it) and
        OverrunError.
        """
        start = 0
        while True:
            if self._buffer.startswith(b".\r\n"):
                del self._buffer[:3]
                return b""
            if (end := self._buffer.find(b"\r\n.\r\n", start)) >= 0:
                break
            if len(self._buffer) > self._data_limit:
                raise OverrunError(f"the data is longer than {self._data_limit} octets")
            start = max(0, len(self._buffer) - 4)
            await self._more()
        content = bytes(self._buffer[: end + 2])
        del self._buffer[: end + 5]
        return unstuff(content)

    async def some(self) -> int:
        """Wait for at least one more octet to arrive and give the number that is held."""
        await self._more()
        return len(self._buffer)

    async def _more(self) -> None:
        chunk = await self._reader.read(_CHUNK)
        if not chunk:
            raise EOFError("the peer closed the connection")
        self._buffer += chunk


def unstuff(content: bytes) -> bytes:
    """Undo dot-stuffing (RFC 5321 section 4.5.2)."""
    if content.startswith(b"."):
        content = content[1:]
    return content.replace(b"\r\n.", b"\r\n")


def stuff(content: bytes) -> bytes:
    """Make content ready for DATA: dots doubled at line starts, CRLF and final dot at its end."""
    if not content.endswith(b"\r\n") and content:
        content += b"\r\n"
    if content.startswith(b"."):
        content = b"." + content
    return content.replace(b"\r\n.", b"\r\n..") + b".\r\n"

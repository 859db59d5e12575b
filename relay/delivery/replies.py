"""Reads SMTP replies from bytes, and trusts none of them.

Bounds (smtp-security section 3): a line has at most 2,048 bytes, a reply at most 100 lines and 64
KiB. Only CRLF ends a line. What is no reply raises `ReplyError`; the caller closes the connection
then, because nothing after it can be matched with a command any more.
"""

from __future__ import annotations

import re

import msgspec

from relay.errors import WaypostError
from relay.mail.reply import Reply, read_reply

MAX_LINE = 2_048
MAX_LINES = 100
MAX_REPLY = 65_536
MAX_TEXT = 2_000  # characters of a reply that are kept

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])([^\r\n]*))?")
_SIMPLE = re.compile(rb"(?:[2-5][0-9][0-9](?: [^\r\n]{0,2000})?\r\n){1,8}")


class ReplyError(WaypostError):
    """The remote sent something that is no SMTP reply (RFC 5321 section 4.2), or too much of it."""


class RawReply(msgspec.Struct, frozen=True, eq=False):
    """One complete reply as it came: the code, and all lines with the last CRLF left off; text is
    made when somebody asks.
    """

    code: int
    raw: bytes

    def texts(self) -> list[bytes]:
        """Give the text of each line without code and separator."""
        return [line[4:] for line in self.raw.split(b"\r\n")]

    def parse(self) -> Reply:
        """Give the reply as a value: text of all lines joined by a space, no control characters,
        bounded.

        An enhanced code repeated on each line (RFC 2034 section 4) is kept once.
        """
        first, *more = self.raw.split(b"\r\n")
        reply = read_reply(self.code, _clean(first))
        if not more:
            return reply
        lines = [_clean(line).removeprefix(reply.enhanced).strip() for line in more]
        text = " ".join(part for part in (reply.text, *lines) if part)
        return Reply(self.code, reply.enhanced, text[:MAX_TEXT])


def _clean(line: bytes) -> str:
    """Give the text of a reply line, bounded, with a space for each character that shows nothing or
    changes how others are shown (controls, line separators, overrides of direction).
    """
    text = line[4 : MAX_TEXT + 4].decode("utf-8", "replace")
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " for char in text).strip()


class ReplyReader:
    """Cuts a byte stream into replies."""

    __slots__ = ("_code", "_kept", "_lines", "_rest")

    def __init__(self) -> None:
        """Start with nothing read."""
        self.forget()

    def forget(self) -> None:
        """Drop everything received so far (RFC 3207 section 4.2)."""
        self._rest = b""
        self._lines: list[bytes] = []
        self._kept = 0
        self._code = b""

    @property
    def is_empty(self) -> bool:
        """Tell whether no byte waits to become a reply."""
        return not self._rest and not self._lines

    def feed(self, data: bytes) -> list[RawReply]:
        """Give the replies that these bytes complete; raises ReplyError, after which the reader is
        of no use.
        """
        if self._rest:
            data = self._rest + data
        elif not self._lines and _SIMPLE.fullmatch(data):  # nearly always: whole, one line each
            return [RawReply(int(line[:3]), line) for line in data[:-2].split(b"\r\n")]
        *lines, rest = data.split(b"\r\n", MAX_LINES * 4)
        if len(rest) > MAX_LINE and b"\r\n" not in rest[: MAX_LINE + 2]:
            raise ReplyError(f"a reply line is longer than {MAX_LINE} bytes")
        if b"\r\n" in rest:
            raise ReplyError("the server sends replies that nobody asked for")
        self._rest = rest
        return self._collect(lines)

    def _collect(self, lines: list[bytes]) -> list[RawReply]:
        replies: list[RawReply] = []
        for line in lines:
            found = _LINE.fullmatch(line)
            if found is None or len(line) > MAX_LINE:
                raise ReplyError("a line from the server is not an SMTP reply")
            code = line[:3]
            if self._lines and code != self._code:
                raise ReplyError("the lines of one reply carry different codes")
            if line[3:4] == b"-":
                self._keep(code, line)
            elif self._lines:
                self._keep(code, line)
                replies.append(RawReply(int(code), b"\r\n".join(self._lines)))
                self._lines, self._kept = [], 0
            else:
                replies.append(RawReply(int(code), line))
        return replies

    def _keep(self, code: bytes, line: bytes) -> None:
        self._code = code
        self._lines.append(line)
        self._kept += len(line)
        if len(self._lines) > MAX_LINES or self._kept > MAX_REPLY:
            raise ReplyError(f"a reply has more than {MAX_LINES} lines or {MAX_REPLY} bytes")

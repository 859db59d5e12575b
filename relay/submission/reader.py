"""Command lines from a stream of octets: found once, bounded, judged as lines.

A line ends at LF, so that a bare LF is seen at once and refused; only CRLF makes a line good. Of a
line longer than any limit only its head is kept; time stays linear and memory flat however the
input is cut into chunks. What a line says is for others to judge.
"""

import re
from functools import lru_cache

from relay.submission import replies
from relay.submission.options import SessionLimits

_HEAD = 512
_LONG_VERBS = (b"MAIL ", b"RCPT ")
_LETTERS = range(0x41, 0x7B)


@lru_cache(16)
def _plain_line(limit: int) -> re.Pattern[bytes]:
    """Give what nearly every line is, in at most `limit` octets with its CRLF."""
    return re.compile(rb"([A-Za-z][^\r\n]{0,%d})\r\n" % max(limit - 3, 0))


class LineReader:
    """A buffer that gives lines, or says why the next one is none.

    After `next` gave None: `fault` is the reply to a bad line, or None if no line is complete;
    `fatal` tells that the connection must end with that reply. `empty`: nothing is held. `whole`:
    all that is held, without its CRLF, if that is one line of the usual form; who takes it sets it
    to None and `empty` to True.
    """

    __slots__ = (
        "_buffer",
        "_dropped",
        "_head",
        "_limits",
        "_plain",
        "_scanned",
        "empty",
        "fatal",
        "fault",
        "whole",
    )

    def __init__(self, limits: SessionLimits) -> None:
        """Start empty."""
        self._limits = limits
        self._buffer = bytearray()
        self._scanned = 0
        self._dropped = 0
        self._head = b""
        self._plain = _plain_line(limits.command).fullmatch
        self.whole: bytes | None = None
        self.empty = True
        self.fault: bytes | None = None
        self.fatal = False

    def __len__(self) -> int:
        """Octets held."""
        return len(self._buffer) + (len(self.whole) + 2 if self.whole is not None else 0)

    def feed(self, data: bytes) -> None:
        """Append octets."""
        if self.empty:
            self.empty = False
            # Who waits for each reply sends one line at a time, which then need not be gathered.
            found = self._plain(data)
            if found is not None:
                self.whole = found[1]
                return
        elif self.whole is not None:
            self._gather()
        self._buffer += data

    def _gather(self) -> None:
        """Put a line that came whole into the buffer: more came before it was asked for."""
        if self.whole is not None:
            self._buffer += self.whole + b"\r\n"
            self.whole = None

    def clear(self) -> None:
        """Forget everything held."""
        self._buffer.clear()
        self.whole = None
        self._scanned = self._dropped = 0
        self.empty = True

    def next(self, *, extended: bool, dialogue: bool) -> bytes | None:
        """Give the next line without its CRLF, or None (see the class).

        `extended`: MAIL and RCPT may be longer, EHLO was said. `dialogue`: within AUTH.
        """
        self._gather()
        buffer = self._buffer
        self.fault = None
        end = buffer.find(b"\n", self._scanned) + 1
        if not end:
            if buffer:
                self._incomplete(dialogue=dialogue)
            return None
        line = bytes(buffer[:end])
        del buffer[:end]
        self._scanned = 0
        self.empty = not buffer
        # Nearly every line passes this one look.
        if (
            end <= self._limits.command
            and line.find(b"\r") == end - 2
            and line[0] in _LETTERS
            and not self._dropped
        ):
            return line[:-2]
        return self._judge(line, extended=extended, dialogue=dialogue)

    def _judge(self, line: bytes, *, extended: bool, dialogue: bool) -> bytes | None:
        """Look closely at a line that is long or not of the usual form."""
        size = self._dropped + len(line)
        if self._dropped:
            line = self._head
            self._dropped = 0
        if not dialogue and _is_binary(line[0]):
            self.fault, self.fatal = replies.NOT_A_COMMAND, True
        elif size > self._longest(line, extended=extended, dialogue=dialogue):
            self.fault = self._too_long(line, size, dialogue=dialogue)
            self.fatal = size > self._limits.discard
        elif line[-2:] != b"\r\n" or b"\r" in line[:-2]:
            self.fault = replies.BARE_LINE_END
        else:
            return line[:-2]
        return None

    def _incomplete(self, *, dialogue: bool) -> None:
        """Keep the beginning of a line, but not of one that will never be good."""
        buffer = self._buffer
        self._scanned = len(buffer)
        if not self._dropped:
            if not dialogue and _is_binary(buffer[0]):
                self.fault, self.fatal = replies.NOT_A_COMMAND, True
                return
            if len(buffer) <= self._limits.auth_line:
                return
            self._head = bytes(buffer[:_HEAD])
        self._dropped += len(buffer)
        buffer.clear()
        self._scanned = 0
        if self._dropped > self._limits.discard:
            self.fault = self._too_long(self._head, self._dropped, dialogue=dialogue)
            self.fatal = True

    def _longest(self, line: bytes, *, extended: bool, dialogue: bool) -> int:
        limits = self._limits
        verb = line[:5].upper()
        if dialogue or verb == b"AUTH ":
            return limits.auth_line
        if extended and verb in _LONG_VERBS:
            return limits.command_extended
        return limits.command

    def _too_long(self, line: bytes, size: int, *, dialogue: bool) -> bytes:
        """The reply to an overlong line, by what it wanted to be."""
        verb, rest = line[:5].upper(), line[5:]
        if dialogue or verb == b"AUTH ":
            return replies.AUTH_FAILED
        beyond = size > self._limits.command_extended
        if beyond and verb in _LONG_VERBS and b" " not in rest.partition(b":")[2].strip(b" \r\n"):
            return replies.PATH_TOO_LONG  # RFC 5321 section 4.5.3.1.10
        return replies.LINE_TOO_LONG


def _is_binary(first: int) -> bool:
    """Whether a line begins as no text does: a TLS record, or some other protocol."""
    return first >= 0x80 or (first < 0x20 and first not in b"\t\r\n")

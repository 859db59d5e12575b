"""Message content as it comes in: the end found across any chunk borders, then one examination.

`Collector` keeps one buffer per message, no object per line; its memory is bounded by the limits.
`refusal` holds the rules that content must keep before anybody reads it.
"""

from relay.mail import lines
from relay.submission import replies
from relay.submission.options import SessionLimits, SessionOptions

_END = b"\r\n.\r\n"
_MANY_DOTS = 64  # dotted lines looked at one by one before the faster search for only the end


class Collector:
    """The octets after DATA up to the line with the single dot (RFC 5321 section 4.1.1.4).

    Only CRLF.CRLF ends the content. `feed` takes octets, `take` gives the content when the end is
    there. The buffer starts with the CRLF of the DATA command, so that a dot in the first line
    is found by the same search.
    """

    __slots__ = ("_buffer", "_dotted", "_scanned", "_whole")

    def __init__(self) -> None:
        """Start empty."""
        self._buffer = bytearray(b"\r\n")
        self._scanned = 0
        self._dotted = 0
        self._whole = b""

    @property
    def size(self) -> int:
        """Octets held, dots not yet removed."""
        return len(self._buffer) - 2 + len(self._whole)

    def feed(self, data: bytes) -> None:
        """Append what the client sent."""
        if len(self._buffer) == 2 and not self._whole and data[-5:] == _END and data[:1] != b".":
            # Most messages come in one piece, which then need not be gathered.
            self._whole = data
            return
        if self._whole:
            self._buffer += self._whole
            self._whole = b""
        self._buffer += data

    def take(self) -> tuple[bytes, bytes] | None:
        """Give content and what the client sent after it, or None if the end is not there yet."""
        whole = self._whole
        if whole:
            if whole.find(b"\r\n.") == len(whole) - 5:
                return whole[:-3], b""
            self._buffer += whole
            self._whole = b""
        end = self._find_end()
        if end < 0:
            return None
        # The view must be gone before the buffer may shrink.
        with memoryview(self._buffer) as view:
            rest = bytes(view[end + 5 :])
            if not self._dotted:
                return bytes(view[2 : end + 2]), rest
            raw = bytes(view[: end + 2])
        return lines.unstuff(raw)[2:], rest

    def _find_end(self) -> int:
        """Look for the end from where the last look stopped; -1 if it is not there."""
        buffer = self._buffer
        at = self._scanned
        # One search finds both dotted lines and the end; content full of dotted lines is searched
        # for the end only, so that no input costs a step of Python per line.
        while self._dotted < _MANY_DOTS:
            at = buffer.find(b"\r\n.", at)
            if at < 0:
                self._scanned = max(self._scanned, len(buffer) - 2)
                return -1
            after = buffer[at + 3 : at + 5]
            if after == b"\r\n":
                return at
            self._scanned = at
            if len(after) < 2 and b"\r\n".startswith(after):
                return -1
            self._dotted += 1
            at += 3
            self._scanned = at
        at = buffer.find(_END, at)
        if at < 0:
            self._scanned = max(self._scanned, len(buffer) - 4)
        return at


def refusal(content: bytes, limits: SessionLimits, options: SessionOptions) -> bytes | None:
    """The reply that refuses the content, or None if it may go on."""
    if len(content) > limits.message:
        return replies.MESSAGE_TOO_LARGE
    if not lines.is_crlf_clean(content):
        return replies.CONTENT_BARE_LINE_END
    if lines.has_long_line(content, limits.line):
        return replies.CONTENT_LINE_TOO_LONG
    end = content.find(b"\r\n\r\n") + 2
    if end < 2:
        end = 0 if content[:2] == b"\r\n" else len(content)
    if b"\0" in content and (not options.nul_in_body or content.find(b"\0", 0, end) >= 0):
        return replies.NUL_IN_CONTENT
    return _header_refusal(content, end, limits)


def _header_refusal(content: bytes, end: int, limits: SessionLimits) -> bytes | None:
    """Check the header block `content[:end]`; folded fields are only taken apart near a limit."""
    if end > limits.header_block:
        return replies.HEADER_TOO_LARGE
    block = content[:end]
    count = block.count(b"\r\n")
    if count > limits.received:
        fields = b"\r\n" + block.lower()
        if fields.count(b"\r\nreceived:") > limits.received:
            return replies.LOOP
        folded = fields.count(b"\r\n ") + fields.count(b"\r\n\t")
        if count - folded > limits.header_fields:
            return replies.HEADER_TOO_LARGE
    if end > limits.header_field:
        whole = block.replace(b"\r\n ", b"   ").replace(b"\r\n\t", b"   ")
        if lines.has_long_line(whole, limits.header_field):
            return replies.HEADER_TOO_LARGE
    return None

"""Content transfer encodings, decoded with a way back to the raw bytes (RFC 2045 section 6).

Guarantees: any bytes decode to something (nothing raises), and `defects` says whether they were
what the encoding allows. For 7bit, 8bit, binary and well-formed quoted-printable every decoded
range has the exact raw range that produces it. Lines must end with CRLF for quoted-printable to
count as well formed.
Leaves to others: charsets, and what to do about a defect.
"""

import binascii
import re
from typing import NamedTuple

IDENTITY = frozenset({"", "7bit", "8bit", "binary"})


class Span(NamedTuple):
    """A range of raw bytes."""

    start: int
    end: int


class Decoded:
    """A decoded body: `data`, the `raw` bytes it came from, and what was wrong with them.

    Defects: "unknown-encoding" (data is raw), "qp-malformed", "base64-malformed". `mapped` says
    whether `raw_at` and `raw_span` may be asked.
    """

    __slots__ = ("_cursor", "data", "defects", "encoding", "mapped", "raw")

    def __init__(
        self, raw: bytes, data: bytes, encoding: str, defects: tuple[str, ...], *, mapped: bool
    ) -> None:
        self.raw = raw
        self.data = data
        self.encoding = encoding
        self.defects = defects
        self.mapped = mapped
        self._cursor = (0, 0)

    def raw_at(self, offset: int) -> int:
        """Give the raw offset where the unit of data[offset] starts; soft breaks are before it."""
        if self.raw is self.data:
            return offset
        self._guess(self.data[max(0, offset - 6) : offset].replace(b"=", b"=3D"), offset)
        at = self._behind(offset)
        while self.raw.startswith(b"=\r\n", at):
            at += 3
        return at

    def raw_span(self, start: int, end: int) -> Span:
        """Give the raw range that decodes to data[start:end], without soft breaks at its edges."""
        if self.raw is self.data:
            return Span(start, end)
        raw = self.raw
        first = self.raw_at(start)
        self._cursor = (first, start)
        behind = self.data[end : end + 1]
        last = raw.find(behind, first) if behind in (b'"', b"'") else -1
        escapes = raw.count(b"=", first, last) if last > first else 0
        soft = raw.count(b"=\r\n", first, last) if escapes else 0
        if last - first - 2 * escapes - soft == end - start and last > first:
            while raw.startswith(b"=\r\n", last - 3):
                last -= 3
            self._cursor = (last, end)
        else:
            last = self._behind(end)
        return Span(first, max(first, last))

    def _guess(self, text: bytes, offset: int) -> None:
        """Move the cursor to `offset` if the next raw place of the text before it proves to be it.

        That is one look for the usual text; a wrong guess costs what it looked at.
        """
        at, made = self._cursor
        if offset - made < 64 or len(text) < 4:
            return
        found = self.raw.find(text, at + offset - made - len(text), at + 2 * (offset - made))
        if found < 0:
            return
        stop = found + len(text)
        count = self.raw.count
        if made + stop - at - 2 * count(b"=", at, stop) - count(b"=\r\n", at, stop) == offset:
            self._cursor = (stop, offset)

    def _behind(self, offset: int) -> int:
        """Give the raw offset right behind the unit of data[offset - 1].

        A unit of n raw bytes makes at most n decoded ones, so stepping forward by what is still
        missing never goes too far; each step makes up nine tenths or more of the rest in real
        mail. Counting is done by the C library, and questions are asked in rising order.
        """
        raw = self.raw
        count = raw.count
        at, made = self._cursor
        if made > offset:
            at, made = 0, 0
        while made < offset:
            stop = at + offset - made
            if raw.startswith(b"=", stop - 1):
                stop += 2
            elif raw.startswith(b"=", stop - 2) and stop - 2 >= at:
                stop += 1
            escapes = count(b"=", at, stop)
            if escapes:
                made += stop - at - 2 * escapes - count(b"=\r\n", at, stop)
            else:
                made += stop - at
            at = stop
        self._cursor = (at, made)
        return at


def decode(raw: bytes, encoding: str) -> Decoded:
    """Decode a body of this transfer encoding (lower case, "" for none)."""
    if encoding in IDENTITY:
        return Decoded(raw, raw, encoding, (), mapped=True)
    if encoding == "quoted-printable":
        return _quoted_printable(raw)
    if encoding == "base64":
        data, defects = decode_base64(raw)
        return Decoded(raw, data, encoding, defects, mapped=False)
    return Decoded(raw, raw, encoding, ("unknown-encoding",), mapped=False)


def _quoted_printable(raw: bytes) -> Decoded:
    """Decode with the C decoder and prove by the length that it met only what RFC 2045 allows.

    Every "=XX" must shorten by two and every soft break by three; an escape that is none stays
    and leaves the result longer, so equality leaves no room for a malformed one.
    """
    data = binascii.a2b_qp(raw)
    soft = raw.count(b"=\r\n")
    expected = len(raw) - 2 * raw.count(b"=") - soft
    if raw.endswith(b"="):  # a soft break whose line end belongs to the delimiter
        expected += 1
    if expected == len(data) and only_crlf(raw):
        return Decoded(raw, data, "quoted-printable", (), mapped=True)
    return Decoded(raw, _sloppy(raw), "quoted-printable", ("qp-malformed",), mapped=False)


def only_crlf(raw: bytes) -> bool:
    """Say whether every line end is CRLF (RFC 5322 section 2.3)."""
    lines = raw.splitlines()  # of bytes: at CR, LF and CRLF, nothing else
    ends = len(lines) if raw.endswith((b"\n", b"\r")) else len(lines) - 1
    return len(raw) - len(b"".join(lines)) == 2 * max(0, ends)


_SOFT = re.compile(rb"=[ \t]*+(?:\r?\n|\Z)")
_ESCAPE = re.compile(rb"=([0-9A-Fa-f]{2})")


def _sloppy(raw: bytes) -> bytes:
    """Decode what programs really write: loose soft breaks, and "=" that escapes nothing."""
    return _ESCAPE.sub(lambda hexed: bytes((int(hexed[1], 16),)), _SOFT.sub(b"", raw))


_OUTSIDE = re.compile(rb"[^A-Za-z0-9+/]")


def decode_base64(raw: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Decode base64 with white space anywhere; the defect "base64-malformed" for anything else."""
    clean = raw.translate(None, b" \t\r\n")
    try:
        return binascii.a2b_base64(clean, strict_mode=True), ()
    except binascii.Error:
        if not clean:
            return b"", ()
    # RFC 2045 6.8: other characters are ignored, the first padding ends the data
    core = _OUTSIDE.sub(b"", clean.partition(b"=")[0])
    core = core[: len(core) - (len(core) % 4 == 1)]
    data = binascii.a2b_base64(core + b"=" * (-len(core) % 4))
    return data, ("base64-malformed",)


def encode_base64(data: bytes, width: int = 76) -> bytes:
    """Encode to lines of `width` characters with CRLF between them, none behind the last."""
    text = binascii.b2a_base64(data, newline=False)
    if len(text) <= width:
        return text
    return b"\r\n".join([text[at : at + width] for at in range(0, len(text), width)])

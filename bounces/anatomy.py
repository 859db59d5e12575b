"""A mail taken apart leniently: header fields and leaf parts, whatever the damage.

Guarantees: never raises on any bytes, and does work linear in the first `MAX_BYTES` of the mail:
at most `MAX_PARTS` leaf parts, `MAX_DEPTH` levels, `MAX_HEADER` bytes of header per part. What lies
beyond is dropped and `Mail.truncated` says so. Line ends may be CRLF, LF or CR, mixed; the text
given out has LF only. A transfer encoding or character set that does not decode is taken as it is.

The strict view of MIME (offsets, defects) is `relay.mail.mime`; reports that come back are often
cut, re-wrapped or stored with bare LF, so reading them has its own lenient layer here.
"""

from __future__ import annotations

import binascii
import html
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from relay.mail.charset import Kind, lookup

MAX_BYTES: Final = 1 << 20
MAX_HEADER: Final = 64 * 1024
MAX_PART_TEXT: Final = 128 * 1024
MAX_PARTS: Final = 100
MAX_DEPTH: Final = 10

_FIELD = re.compile(r"^([!-9;-~]{1,100})[ \t]*:[ \t]*(.*(?:\n[ \t].*)*)", re.MULTILINE)
_FOLD = re.compile(r"\s*\n[ \t]+")
_PARAMETER = re.compile(
    r';\s*([\w*-]{1,60})\s*=\s*(?:"((?:[^"\\]|\\.){0,300})"|([^\s;"]{1,300}))', re.DOTALL
)
_ENCODED_WORD = re.compile(r"=\?([\w.-]{1,40})(?:\*[\w-]{1,20})?\?([bBqQ])\?([^?\s]{0,1000})\?=")
_BETWEEN_WORDS = re.compile(r"(\?=)\s+(=\?)")
_GUESSED_BOUNDARY = re.compile(
    rb"(?:\A|\n)--([^\s-][^\n]{0,199}|-[^\n]{1,199})\n(?=content-)", re.IGNORECASE
)
_TAG = re.compile(
    r"<!?/?(?:html|head|body|meta|title|link|p|br|hr|div|span|font|b|i|u|em|strong|a|img|table|tbody"
    r"|thead|tr|td|th|ul|ol|li|pre|code|tt|h[1-6]|blockquote|center|doctype|o:p)\b[^<>]{0,2000}>",
    re.IGNORECASE,
)
_ENDLESS_REFERENCE = re.compile(r"&#(?:[xX][0-9a-fA-F]{8,}|[0-9]{8,});?")  # U+10FFFF has 7 digits
_ASCII_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
_UNSHOWN: Final = (("<!--", "-->"), ("<style", "</style>"), ("<script", "</script>"))
_WESTERN: Final = ("cp1252", "latin-1", "iso8859-15")
_BREAKING = re.compile(
    r"<(?:/?p|br|/?div|/?tr|/?h[1-6]|/?li|/?pre|/?table|hr|/td)\b", re.IGNORECASE
)


class Fields:
    """Header fields, names folded to lower case, values unfolded when asked for."""

    __slots__ = ("_values",)

    def __init__(self, block: str) -> None:
        """Read a header block with LF line ends; lines that are no field are passed over."""
        values: dict[str, list[str]] = {}
        for name, value in _FIELD.findall(block):
            values.setdefault(name.lower(), []).append(value)
        self._values = values

    def get(self, name: str) -> str:
        """Give the first value of a field (name in lower case), unfolded, or `""`."""
        found = self._values.get(name)
        return _FOLD.sub(" ", found[0]).strip() if found else ""

    def last(self, name: str) -> str:
        """Give the last value of a field, unfolded, or `""`."""
        found = self._values.get(name)
        return _FOLD.sub(" ", found[-1]).strip() if found else ""

    def all(self, name: str) -> list[str]:
        """Give all values of a field, unfolded."""
        return [_FOLD.sub(" ", v).strip() for v in self._values.get(name, ())]

    def names(self) -> list[str]:
        """Give the names present, in lower case, in order of first appearance."""
        return list(self._values)

    def __contains__(self, name: str) -> bool:
        """Tell whether a field of this name (lower case) is there."""
        return name in self._values

    def __len__(self) -> int:
        """Count the different names."""
        return len(self._values)


@dataclass(slots=True)
class Part:
    """A leaf part: media type in lower case, header fields, raw body with LF line ends."""

    media_type: str
    fields: Fields
    body: bytes
    content_type: str = ""
    _text: str | None = None

    @property
    def text(self) -> str:
        """Decode the body (transfer encoding, charset); at most `MAX_PART_TEXT` bytes of it."""
        if self._text is None:
            raw = _untransfer(
                self.body[:MAX_PART_TEXT], self.fields.get("content-transfer-encoding")
            )
            self._text = decode(raw, parameter(self.content_type, "charset"))
        return self._text


@dataclass(slots=True)
class Mail:
    """A mail taken apart."""

    fields: Fields
    media_type: str
    content_type: str
    parts: list[Part] = field(default_factory=list)
    truncated: bool = False

    def first(self, *media_types: str) -> Part | None:
        """Give the first leaf of one of these types, or None."""
        for part in self.parts:
            if part.media_type in media_types:
                return part
        return None


def take_apart(message: bytes) -> Mail:
    """Take a whole mail apart. Never raises."""
    head = message[:MAX_BYTES]
    if b"\r" in head:
        head = head.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    fields, body = split(head.lstrip(b"\n"))
    content_type = fields.get("content-type")
    media_type = _media_type(content_type)
    mail = Mail(fields, media_type, content_type, truncated=len(message) > MAX_BYTES)
    waiting = [(fields, body, 0)]
    while waiting:
        here, content, depth = waiting.pop()
        if len(mail.parts) >= MAX_PARTS:
            mail.truncated = True
            break
        inner = _split_parts(here, content, depth)
        if inner is None:
            kind = here.get("content-type")
            main = _media_type(kind)
            if main.startswith("multipart/"):  # its boundaries are gone: read it as the text it is
                main = "text/plain"
            mail.parts.append(Part(main, here, content, kind))
        else:
            waiting.extend((*split(piece), depth + 1) for piece in reversed(inner[:MAX_PARTS]))
    return mail


def split(block: bytes) -> tuple[Fields, bytes]:
    """Split a part with LF line ends into its header fields and its body."""
    if block[:1] == b"\n":
        return Fields(""), block[1:]
    end = block.find(b"\n\n")
    head, body = (block, b"") if end < 0 else (block[:end], block[end + 2 :])
    return Fields(decode(head[:MAX_HEADER], "")), body


def _split_parts(fields: Fields, body: bytes, depth: int) -> list[bytes] | None:
    """Give the pieces of a multipart body, or None where it is a leaf."""
    content_type = fields.get("content-type")
    if depth >= MAX_DEPTH:
        return None
    boundary = parameter(content_type, "boundary").encode("utf-8", "replace").rstrip()
    multipart = content_type[:10].lower() == "multipart/"
    if not (multipart or (boundary and depth == 0)):
        return None
    mark = b"\n--" + boundary
    whole = b"\n" + body
    if not boundary or mark not in whole:
        guess = _GUESSED_BOUNDARY.search(body[:MAX_HEADER]) if multipart else None
        if guess is None:
            return None
        mark = b"\n--" + guess[1].rstrip()
    pieces = whole.split(mark, MAX_PARTS * 2)[1:]
    out = []
    for piece in pieces:
        line, _, rest = piece.partition(b"\n")
        if line[:2] == b"--":  # the closing delimiter; what follows is epilogue
            break
        if not line.strip():  # else another boundary that only starts with this one
            out.append(rest)
        elif out:
            out[-1] += mark + piece
    return out or None


def parameter(value: str, name: str) -> str:
    """Give a parameter of a structured field value (`Content-Type: a/b; name=value`), or `""`."""
    if name not in value and name not in value.lower():
        return ""
    for key, quoted, plain in _PARAMETER.findall(value[:4000]):
        if key.lower() in (name, name + "*", name + "*0"):
            return str(quoted or plain)
    return ""


@lru_cache(maxsize=256)
def _media_type(content_type: str) -> str:
    main = content_type.partition(";")[0].strip().lower()
    return main if "/" in main else "text/plain"


def _untransfer(raw: bytes, encoding: str) -> bytes:
    match encoding.strip().lower():
        case "quoted-printable":
            return binascii.a2b_qp(raw)
        case "base64":
            kept = raw[: len(raw) - len(raw) % 4] if b"\n" not in raw else raw
            try:
                return binascii.a2b_base64(kept)
            except binascii.Error:
                return _damaged_base64(kept)
        case _:
            return raw


def _damaged_base64(raw: bytes) -> bytes:
    """Decode what can be decoded: padding repaired, the odd character at the end dropped."""
    letters = re.sub(rb"[^A-Za-z0-9+/]", b"", raw)
    letters = letters[: len(letters) - 1] if len(letters) % 4 == 1 else letters
    try:
        return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))
    except binascii.Error:
        return raw


def decode(raw: bytes, charset: str) -> str:
    """Decode bytes by the declared character set if it is known, else as UTF-8, else as Latin-1."""
    if raw.isascii() and b"\x1b" not in raw:
        return raw.decode("ascii")
    name = "iso2022_jp" if b"\x1b$" in raw else _codec(charset)  # Japanese, declared or not
    # every byte is a letter of Latin-1, so what is UTF-8 all the same was declared wrongly
    for codec in ("utf-8", name) if name in _WESTERN else (name, "utf-8"):
        try:
            return raw.decode(codec)
        except ValueError:
            continue
    return raw.decode("latin-1" if name == "utf-8" else name, "replace")


@lru_cache(maxsize=256)
def _codec(charset: str) -> str:
    if charset.strip().lower() == "gb2312":
        return "gb18030"  # what senders call gb2312 is usually its superset
    found = lookup(charset)
    return found.codec if found and found.kind is not Kind.WIDE else "utf-8"


def unword(value: str) -> str:
    """Decode RFC 2047 encoded words of a header value for reading; anything unreadable stays."""
    if "=?" not in value:
        return value
    return _ENCODED_WORD.sub(_decode_word, _BETWEEN_WORDS.sub(r"\1\2", value[:4000]))


def _decode_word(found: re.Match[str]) -> str:
    raw = found[3].encode("utf-8", "replace")
    if found[2] in "bB":
        return decode(_untransfer(raw + b"=" * (-len(raw) % 4), "base64"), found[1])
    return decode(binascii.a2b_qp(raw, header=True), found[1])


def untag(markup: str) -> str:
    """Turn HTML into lines of text; `<ann@inbox.test>` is no tag and stays."""
    for opening, closing in _UNSHOWN:
        markup = _without(markup, opening, closing)
    text = _BREAKING.sub(lambda m: "\n" + m[0], markup.replace("\n", " "))
    # `int` refuses some thousand digits, and `html.unescape` with it
    text = html.unescape(_ENDLESS_REFERENCE.sub(" ", _TAG.sub(" ", text)))
    # an indent of hard spaces was meant: an indented header line is no beginning of a copy
    return "\n".join(line.strip(" \t") for line in text.split("\n")).replace("\xa0", " ")


def _without(markup: str, opening: str, closing: str) -> str:
    """Take out everything between two marks, also an opening one that is never closed."""
    lowered = markup.translate(_ASCII_LOWER)
    at = lowered.find(opening)
    if at < 0:
        return markup
    kept: list[str] = []
    behind = 0
    while at >= 0:
        kept.append(markup[behind:at])
        end = lowered.find(closing, at)
        if end < 0:
            return " ".join(kept)
        behind = end + len(closing)
        at = lowered.find(opening, behind)
    kept.append(markup[behind:])
    return " ".join(kept)

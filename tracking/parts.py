"""Which parts of a message may be changed, and what is in them.

Guarantees: only text/html (and text/plain on demand) that people see and nobody has signed: no
attachments, nothing inside signed, encrypted or forwarded content, no AMP; and only where every
byte can be found again: clean transfer encoding, a charset whose markup can be told from text, no
NUL, CRLF alone as line end. Everything else comes with the reason it is left.
Leaves to others: the links' own rules (`urls.py`) and the edits (`plan.py`).
"""

import re
from collections.abc import Container, Iterator
from typing import NamedTuple

from relay.mail import charset as charsets
from relay.mail.charset import UTF8, WINDOWS_1252, Charset, Kind
from relay.mail.mime import Part, Tree
from relay.mail.transfer import Decoded, decode, only_crlf
from tracking import placement
from tracking.entities import unescape
from tracking.markup import Anchor
from tracking.scan import scan
from tracking.splice import MAX_LINE

_META = re.compile(rb"(?i:<meta[^>]+charset[\t\n\f\r ]*=[\t\n\f\r \"']*([a-z0-9_:.-]+))")
_OWN_PIXEL = re.compile(rb"//([A-Za-z0-9.-]{1,255})(?::[0-9]{1,5})?/o/[A-Za-z0-9_-]{60,100}\.gif")
_JAPANESE = re.compile(rb"\x1b\$[@B][^\x1b\r\n]*+\x1b\([BJ]")
_TRAILING_SPACE = re.compile(r"[ \t]+(?=\r\n)")
_SNIFFED = 1024  # bytes in which a meta element may name the charset (HTML, 13.2.3.2)
_CLOSED = {
    "multipart/signed": "in-signed",
    "multipart/encrypted": "in-encrypted",
    "multipart/report": "report",
}


class Left(NamedTuple):
    """A part that is left alone, and why."""

    part: Part
    reason: str


class Html:
    """A part that may be changed: decoded bytes, charset, anchors, and the pixel's place.

    `data` is what the scanner read: the decoded bytes, of iso-2022-jp with the characters between
    escape sequences masked. `anchors` pairs each anchor with the reason it is no link, or "".
    """

    __slots__ = (
        "anchors",
        "charset",
        "content_type",
        "data",
        "decoded",
        "invalid",
        "is_text",
        "place",
    )

    def __init__(self, part: Part, decoded: Decoded, data: bytes, charset: Charset) -> None:
        self.content_type = part.content_type
        self.decoded = decoded
        self.data = data
        self.charset = charset
        self.anchors: list[tuple[Anchor, str]] = []
        self.place = -1
        self.invalid = False  # an href that is no text in its charset
        self.is_text = part.content_type == "text/plain"

    def text(self, start: int, end: int) -> str | None:
        """Give an href's value as a browser reads it, None if its bytes are no text."""
        try:
            text = self.decoded.data[start:end].decode(self.charset.codec)
        except UnicodeDecodeError:
            return None
        if "\n" in text and self.decoded.encoding == "quoted-printable":
            text = _TRAILING_SPACE.sub("", text)  # RFC 2045 6.7 (3): it was not there
        return text if self.is_text else unescape(text)

    def has_own_pixel(self, own_hosts: Container[str]) -> bool:
        """Say whether a pixel of ours is in here already."""
        if b".gif" not in self.data or b"/o/" not in self.data:
            return False
        return any(
            found[1].decode("ascii").lower() in own_hosts
            for found in _OWN_PIXEL.finditer(self.data)
        )

    def base64_width(self) -> int:
        """Give the line width of the base64 body: the author's if it is usable, else 76."""
        first = self.decoded.raw.partition(b"\r\n")[0]
        width = len(first)
        return width if 4 <= width <= 76 and width % 4 == 0 and first.strip() == first else 76


def candidates(tree: Tree, *, plain_text: bool) -> Iterator[Left]:
    """Give the parts with HTML (and plain text), each with the reason to leave it or ""."""
    for part in tree.parts:
        if part.content_type == "text/html" or (
            plain_text and part.content_type == "text/plain" and not part.children
        ):
            yield Left(part, _part_refusal(part))


def _part_refusal(part: Part) -> str:
    """Give the reason to leave a part that its own header or what is around it gives."""
    for defect in part.defects:
        if defect in _DOUBTFUL or defect.startswith("duplicate-"):
            return _DOUBTFUL.get(defect, defect)
    if _is_attachment(part):
        return "attachment"
    parent = part.parent
    if part.filename and parent is not None and parent.content_type == "multipart/mixed":
        return "has-filename"
    return next((reason for reason in map(_around, part.ancestors()) if reason), "")


def _is_attachment(part: Part) -> bool:
    """Say whether a part is no inline one; types that nobody knows are not (RFC 2183 2.8)."""
    return part.disposition.strip("\"' ") not in ("", "inline")


_DOUBTFUL = {"no-blank-line-after-header": "bad-header", "space-before-colon": "bad-header"}


def _around(above: Part) -> str:
    """Give the reason to leave everything inside a part."""
    if above.content_type in _CLOSED:
        return _CLOSED[above.content_type]
    if above.content_type.startswith("message/"):
        return "in-message"
    if _is_attachment(above):
        return "attachment"
    if "no-closing-boundary" in above.defects:
        return "unclosed"
    return "duplicate-boundary" if "duplicate-boundary" in above.defects else ""


def open_part(raw: bytes, part: Part, limit: int, *, outlook: bool) -> Html | str:
    """Decode a part's body and find what is in it, or give the reason to leave it."""
    if len(raw) > 2 * limit:
        return "too-large"
    decoded = decode(raw, part.encoding)
    reason = _raw_refusal(decoded) or _data_refusal(decoded.data, limit)
    if reason:
        return reason
    data = decoded.data
    charset, reason = _charset(part.charset, data)
    if reason:
        return reason
    if charset.kind is Kind.STATEFUL or b"\x1b" in data:
        data = _JAPANESE.sub(lambda found: b"\x80" * len(found[0]), data)
        if b"\x1b" in data or not data.replace(b"\x80", b"").isascii():
            return "charset-stateful"
    opened = Html(part, decoded, data, charset)
    if opened.is_text:
        return opened
    return _find_anchors(opened, outlook=outlook)


def _raw_refusal(decoded: Decoded) -> str:
    """Give the reason to leave a part whose bytes on the wire are not in order."""
    if decoded.defects:
        return decoded.defects[0]
    if decoded.encoding != "quoted-printable" and not only_crlf(decoded.raw):
        return "bare-line-end"  # of quoted-printable "qp-malformed" has said it
    if decoded.mapped and _has_long_line(decoded.raw):
        return "line-limit"
    return ""


def _data_refusal(data: bytes, limit: int) -> str:
    """Give the reason to leave decoded content."""
    if len(data) > limit:
        return "too-large"
    if not data or data.isspace():
        return "empty"
    if b"\0" in data:
        return "nul"
    return "inline-pgp" if b"-----BEGIN PGP" in data else ""


def _find_anchors(opened: Html, *, outlook: bool) -> Html | str:
    data = opened.data
    quick = scan(data, 0, len(data), outlook=outlook)
    if quick.over_budget:
        return "over-budget"
    if not quick.unusual and quick.pixel >= 0:
        opened.anchors = [(anchor, "") for anchor in quick.anchors]
        opened.place = quick.pixel
        return opened
    exact = placement.read(data, 0, len(data), outlook=outlook)
    if exact.over_budget:
        return "over-budget"
    opened.anchors = list(exact.anchors)
    opened.place = exact.place
    return opened


def _has_long_line(raw: bytes) -> bool:
    """Say whether a line is longer than RFC 5322 allows already; hops from line end to line end."""
    at, last = 0, len(raw)
    while last - at > MAX_LINE:
        end = raw.rfind(b"\r\n", at, at + MAX_LINE + 2)
        if end < 0:
            return True
        at = end + 2
    return False


def _charset(label: str, data: bytes) -> tuple[Charset, str]:
    """Settle the part's charset; the second value is the reason to leave it, or ""."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return UTF8, "charset-wide"
    if not label:
        return _sniffed(data)
    found = charsets.lookup(label)
    if found is None:
        return UTF8, "" if data.isascii() and b"\x1b" not in data else "charset-unknown"
    if found.kind is Kind.WIDE:
        return found, "charset-wide"
    if found.kind is Kind.STATEFUL and found.codec != "iso2022_jp":
        return found, "charset-stateful"
    return _checked(found, data)


def _checked(found: Charset, data: bytes) -> tuple[Charset, str]:
    """Refuse text of a multi-byte charset that is not valid in it, or in its other reading."""
    if found.kind is not Kind.MULTI or _valid(data, found.codec):
        return found, ""
    other = _OTHER_READING.get(found.codec)
    if other is not None and _valid(data, other):
        return Charset(other, Kind.MULTI), ""
    return found, "charset-invalid"


_OTHER_READING = {"big5hkscs": "cp950", "euc_jp": "euc_jis_2004"}


def _sniffed(data: bytes) -> tuple[Charset, str]:
    """Do as a browser without a label: byte order mark, meta element, the bytes themselves."""
    if data.isascii() and b"\x1b" not in data:
        return UTF8, ""
    meta = _META.search(data, 0, _SNIFFED)
    found = charsets.lookup(meta[1].decode("ascii")) if meta else None
    if data.startswith(b"\xef\xbb\xbf") or found is None or found.kind is Kind.WIDE:
        return (UTF8 if charsets.is_utf8(data) else WINDOWS_1252), ""
    if found.kind is Kind.STATEFUL and found.codec != "iso2022_jp":
        return found, "charset-stateful"
    return _checked(found, data)


def _valid(data: bytes, codec: str) -> bool:
    if data.isascii():
        return True
    try:
        data.decode(codec)
    except UnicodeDecodeError:
        return False
    return True

"""Messages to track, and an independent reading of what was delivered.

Guarantees: the reading uses the standard library's email package and html5lib, nothing of the
code under test.
"""

import codecs
import email
import email.policy
import quopri
from base64 import encodebytes
from dataclasses import dataclass
from email.message import Message

import html5lib  # type: ignore[import-untyped]

from tracking.offline import BASE_URL, IDENTITY, RING, is_pixel, unmap
from tracking.plan import Plan, Switches, compile_plan
from tracking.render import render
from tracking.tokens import Mint

HEAD = b"From: news@shop.test\r\nTo: ann@inbox.test\r\nSubject: news\r\nMIME-Version: 1.0\r\n"
_AS_BROWSERS_DO = {
    "us-ascii": "cp1252",
    "iso-8859-1": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "big5": "big5hkscs",
    "euc-kr": "cp949",
}
_XHTML = "{http://www.w3.org/1999/xhtml}"


def html_message(
    html: bytes | str, encoding: str = "8bit", charset: str = "utf-8", extra: bytes = b""
) -> bytes:
    """Give a message of one HTML part in this transfer encoding."""
    body = html.encode(charset) if isinstance(html, str) else html
    fields = f"Content-Type: text/html; charset={charset}\r\nContent-Transfer-Encoding: {encoding}"
    return HEAD + extra + fields.encode() + b"\r\n\r\n" + encoded(body, encoding)


def multipart(subtype: str, *parts: bytes, extra: str = "") -> bytes:
    """Give a message of these parts, header and body each; `extra` are more parameters."""
    text = f'Content-Type: multipart/{subtype}; boundary="b"{extra}\r\n\r\n'.encode()
    return HEAD + text + b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


def encoded(body: bytes, encoding: str) -> bytes:
    """Encode a body as a mailer would, with CRLF."""
    if encoding == "quoted-printable":
        text = quopri.encodestring(body.replace(b"\r\n", b"\n"), quotetabs=False)
        return text.replace(b"\n", b"\r\n")
    if encoding == "base64":
        return encodebytes(body).replace(b"\n", b"\r\n")
    return body


def page(content: str) -> str:
    """Give an ordinary document with this body."""
    return f"<html><head><title>t</title></head><body>\r\n{content}\r\n</body></html>\r\n"


def plan_of(message: bytes, **switches: bool) -> Plan:
    """Compile with opens and clicks on and the offline host."""
    chosen = Switches(**{"opens": True, "clicks": True, **switches})
    return compile_plan(message, chosen, base_url=BASE_URL)


def delivered(
    message: bytes, *, opens: bool = True, clicks: bool = True, **switches: bool
) -> bytes:
    """Give the message as one recipient gets it."""
    plan = plan_of(message, **switches)
    pieces = render(message, plan, Mint(RING, plan.host), IDENTITY, opens=opens, clicks=clicks)
    return b"".join(pieces)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What another parser finds in a message: links as they are, where ours lead, and pixels."""

    hrefs: list[str]
    targets: list[str | None]
    pixels: int
    html: list[bytes]


def read(message: bytes) -> Reading:
    """Read all HTML parts of a message."""
    hrefs: list[str] = []
    pixels = 0
    bodies: list[bytes] = []
    for part in email.message_from_bytes(message, policy=email.policy.compat32).walk():
        if part.get_content_type() != "text/html":
            continue
        body = decoded(part)
        bodies.append(body)
        text = body.decode(as_browsers_do(part.get_content_charset() or "utf-8"), "replace")
        tree = html5lib.parse(text, treebuilder="etree")
        for element in tree.iter():
            if element.tag in (f"{_XHTML}a", f"{_XHTML}area") and element.get("href") is not None:
                hrefs.append(element.get("href"))
            elif element.tag == f"{_XHTML}img" and is_pixel(element.get("src") or ""):
                pixels += 1
    return Reading(hrefs=hrefs, targets=list(map(unmap, hrefs)), pixels=pixels, html=bodies)


def as_browsers_do(label: str) -> str:
    """Give the codec of a charset label; one that nobody knows is read as UTF-8."""
    name = _AS_BROWSERS_DO.get(label, label)
    try:
        codecs.lookup(name)
    except LookupError:
        return "utf-8"
    return name


def decoded(part: Message) -> bytes:
    """Give a part's decoded body."""
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""

"""What a mail program finds in a message: the pixel, the links, the unsubscribe form, whom to
answer.

Guarantees: read with the standard library's parsers, which share nothing with the relay's scanner;
never raises on any message; at most MAX_LINKS links. A pixel is the last `<img>` of the HTML part
of size 1 by 1 or without a size whose host is one of those asked for.
"""

from __future__ import annotations

import email
import email.policy
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import urlsplit

MAX_LINKS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was found; addresses without angle brackets, URLs as written after entity decoding."""

    message_id: str = ""
    subject: str = ""
    links: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    unsubscribe: str = ""  # the https or http URL of List-Unsubscribe, "" without a one-click form
    unsubscribe_mail: str = ""  # the mailto URL of List-Unsubscribe
    feedback: str = ""  # where complaints are wanted (RFC 9477 CFBL-Address)


def read(content: bytes) -> Reading:
    """Read a message as it was delivered."""
    message = email.message_from_bytes(content, policy=email.policy.compat32)
    page = _Page()
    for part in message.walk():
        if part.get_content_type() == "text/html" and not part.get_filename():
            payload = part.get_payload(decode=True)
            charset = part.get_content_charset("utf-8")
            if isinstance(payload, bytes):
                page.feed(_text(payload, charset))
    page.close()
    ways = _listed(str(message.get("List-Unsubscribe", "")))
    one_click = "one-click" in str(message.get("List-Unsubscribe-Post", "")).lower()
    return Reading(
        message_id=_flat(str(message.get("Message-ID", ""))),
        subject=_flat(str(message.get("Subject", ""))),
        links=tuple(page.links[:MAX_LINKS]),
        images=tuple(page.images[:MAX_LINKS]),
        unsubscribe=next((w for w in ways if w.startswith("http")), "") if one_click else "",
        unsubscribe_mail=next((w for w in ways if w.startswith("mailto:")), ""),
        feedback=_flat(str(message.get("CFBL-Address", ""))).split(";")[0].strip(" <>"),
    )


def host_of(url: str) -> str:
    """Give host and port of an http or https URL in lower case, "" for anything else."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return parts.netloc.lower() if parts.scheme in ("http", "https") else ""


class _Page(HTMLParser):
    """Collects the targets of links and the sources of images, entities decoded."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[str] = []
        self.images: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        wanted = {
            "a": ("href", self.links),
            "area": ("href", self.links),
            "img": ("src", self.images),
        }
        if tag in wanted:
            name, found = wanted[tag]
            value = next((v for n, v in attrs if n == name and v), "").strip()
            if value and len(found) < MAX_LINKS:
                found.append(value)


def _text(payload: bytes, charset: str) -> str:
    try:
        return payload.decode(charset, "replace")
    except LookupError:
        return payload.decode("latin-1")


def _flat(value: str) -> str:
    return " ".join(value.split())


def _listed(value: str) -> list[str]:
    """Split a List-Unsubscribe value (RFC 2369) into its URLs."""
    return [part.split(">")[0].strip() for part in "".join(value.split()).split("<")[1:]]

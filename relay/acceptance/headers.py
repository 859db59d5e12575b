"""The header as it will be delivered: control fields out, missing Date and Message-ID in, our
Received ready.

Guarantees that no other byte of the message changes (promise 3); the fields that are added stand
in front.
"""

from __future__ import annotations

import re
from email.utils import formatdate
from functools import lru_cache

from relay.errors import RefusedError
from relay.ids import to_text
from relay.mail.header import Header

MAX_RECEIVED = 100
_HIDDEN = re.compile(rb"(?im)^(from|bcc|resent-bcc|x-waypost-[!-9;-~]{1,64})[ \t]*+:")
_SAFE = re.compile(r"[^A-Za-z0-9.:_-]")


def missing_fields(header: Header, message: int, hostname: str, at: int) -> tuple[bytes, str]:
    """Give Date and Message-ID fields where they lack (RFC 6409 section 8), and the Message-ID in
    force.

    `at` is microseconds since the epoch.
    """
    added = b""
    given = header.get(b"message-id")
    if given is None:
        message_id = f"<{to_text(message)}@{hostname}>"
        added += b"Message-ID: " + message_id.encode("ascii") + b"\r\n"
    else:
        message_id = given.decode("utf-8", "replace")
    if header.get(b"date") is None:
        added += b"Date: " + _date(at // 1_000_000).encode("ascii") + b"\r\n"
    return added, message_id[:512]


def check_hidden_fields(content: bytes, header: Header) -> None:
    """Refuse fields that matter behind a line that is no field, where the header ends for us.

    Other readers pass over such a line: for them From would be another one, and Bcc and control
    headers would be told to every recipient.
    """
    if "bad-line" not in header.defects:
        return
    end = content.find(b"\r\n\r\n", header.body_start)
    hidden = _HIDDEN.search(content, header.body_start, end if end >= 0 else len(content))
    if hidden is not None:
        name = hidden[1].decode("ascii")
        raise RefusedError(
            550, "5.6.0", f"{name}: stands behind a line that is no header field (name: value)"
        )


def check_loops(header: Header) -> None:
    """Refuse a message that has travelled too far (RFC 5321 section 6.3)."""
    hops = len(header.all(b"received"))
    if hops > MAX_RECEIVED:
        raise RefusedError(554, "5.4.6", f"{hops} Received headers; the message seems to loop")


def received(*, hostname: str, helo: str, protocol: str, message: int, at: int) -> bytes:
    """Build our trace field (RFC 5321 section 4.4); nothing in it is raw text of the client's
    choice.

    The client's address is left out: recipients have no business knowing where the application
    runs.
    """
    name = _SAFE.sub("?", helo)[:64] or "unknown"
    return (
        f"Received: from {name} by {hostname} with {protocol} id {to_text(message)};\r\n"
        f"\t{_date(at // 1_000_000)}\r\n"
    ).encode("ascii")


@lru_cache(maxsize=4)
def _date(seconds: int) -> str:
    """Give a date as header fields have it; the same for all mail of a second."""
    return formatdate(seconds)

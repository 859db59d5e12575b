"""Writes a delivery status notification: RFC 3461 section 6, RFC 3462, RFC 3464, RFC 6533.

Guarantees: nothing of the remote's or the client's text can become a field of its own: it is made
printable ASCII first; lines stay below 998 octets; the returned message is a part of its own whose
bytes are the stored ones. Text and structure only: when a notice is due is decided elsewhere.
"""

from __future__ import annotations

import re
from email.utils import formatdate

import msgspec

from relay.mail.header import split

_XTEXT = re.compile(rb"\+([0-9A-F]{2})")
_UNPRINTABLE = re.compile(r"[^ -~]+")
_WIDTH = 76
_LONGEST = 2000
_HEADERS_KEPT = 65_536
SECOND = 1_000_000


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a notice tells. Times are microseconds since the epoch, 0 for "not said"."""

    action: str  # failed, delayed or relayed
    hostname: str
    to: bytes  # the envelope sender of the message
    recipient: bytes
    at: int
    arrived_at: int
    message_id: str  # of the notice, with its brackets
    about: str = ""  # Message-ID of the message
    status: str = "5.0.0"
    diagnostic: str = ""  # the remote's reply
    explanation: str = ""  # what was wrong where no remote said anything
    remote: str = ""
    envid: bytes = b""
    orcpt: bytes = b""
    retry_until: int = 0


_SUBJECTS = {
    "failed": "Undelivered mail returned to sender",
    "delayed": "Delayed mail (still being retried)",
    "relayed": "Mail relayed to a server that sends no confirmations",
}
_SENTENCES = {
    "failed": "Your message could not be delivered to the recipient below. It is not tried again.",
    "delayed": "Your message could not be delivered yet. It is tried again; you need not act.",
    "relayed": "Your message was handed to the next server, which does not confirm deliveries.\r\n"
    "You asked for a confirmation; this is the last that is known.",
}


def write(report: Report, content: bytes, *, whole: bool) -> bytes:
    """Give the notice as a message with CRLF line ends; `whole` returns all of `content`, else
    its header.
    """
    boundary = f"=_{report.message_id.strip('<>').partition('@')[0]}"
    head = content[: split(content).body_start].rstrip(b"\r\n") + b"\r\n"
    returned = content if whole else head[:_HEADERS_KEPT].rpartition(b"\r\n")[0] + b"\r\n"
    kind = "message/rfc822" if whole else "text/rfc822-headers"
    if not head.isascii():
        kind = "message/global" if whole else "message/global-headers"
    encoding = "7bit" if returned.isascii() else "8bit"
    parts = (
        ("text/plain; charset=us-ascii", "7bit", _text(report).encode("ascii")),
        ("message/delivery-status", "7bit", _status(report).encode("ascii")),
        (kind, encoding, returned),
    )
    body = b"".join(
        f"--{boundary}\r\nContent-Type: {kind_}\r\nContent-Transfer-Encoding: {coding}\r\n"
        "\r\n".encode("ascii")
        + part
        + (b"" if part.endswith(b"\r\n") else b"\r\n")
        for kind_, coding, part in parts
    )
    return _head(report, boundary) + body + f"--{boundary}--\r\n".encode("ascii")


def _head(report: Report, boundary: str) -> bytes:
    about = _printable(report.about)
    fields = (
        f"From: Mail Delivery System <MAILER-DAEMON@{report.hostname}>",
        f"Subject: {_SUBJECTS[report.action]}",
        f"Date: {formatdate(report.at / SECOND)}",
        f"Message-ID: {report.message_id}",
        *((f"In-Reply-To: {about}",) if about.startswith("<") and len(about) < 900 else ()),
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary}"',
    )
    return b"To: <" + report.to + b">\r\n" + "\r\n".join(fields).encode("ascii") + b"\r\n\r\n"


def _text(report: Report) -> str:
    said = report.diagnostic or report.explanation
    lines = [
        f"This is the mail system at {report.hostname}.",
        "",
        _SENTENCES[report.action],
        "",
        f"Recipient: {_shown(report.recipient)}",
        *_wrapped("Reason: " + said if said else ""),
    ]
    if report.retry_until:
        lines += ["", f"It is tried until {formatdate(report.retry_until / SECOND)}."]
    return "\r\n".join(lines) + "\r\n"


def _status(report: Report) -> str:
    message = [
        f"Reporting-MTA: dns; {report.hostname}",
        f"Original-Envelope-Id: {_decoded(report.envid)}" if report.envid else "",
        f"Arrival-Date: {formatdate(report.arrived_at / SECOND)}",
    ]
    kind, _, original = report.orcpt.partition(b";")
    recipient = [
        f"Original-Recipient: {_printable(kind.decode('ascii', 'replace'))}; {_decoded(original)}"
        if original
        else "",
        f"Final-Recipient: {_final(report.recipient)}",
        f"Action: {report.action}",
        f"Status: {report.status}",
        f"Remote-MTA: dns; {_printable(report.remote)}" if report.remote else "",
        *_wrapped(f"Diagnostic-Code: smtp; {report.diagnostic}" if report.diagnostic else ""),
        f"Last-Attempt-Date: {formatdate(report.at / SECOND)}",
        f"Will-Retry-Until: {formatdate(report.retry_until / SECOND)}"
        if report.retry_until
        else "",
    ]
    groups = ("\r\n".join(filter(None, group)) for group in (message, recipient))
    return "\r\n\r\n".join(groups) + "\r\n"


def _wrapped(text: str) -> list[str]:
    """Break one line into a field and its continuation lines, each beginning with a space."""
    rest = _printable(text)[:_LONGEST]
    lines: list[str] = []
    while len(rest) > _WIDTH:
        at = rest.rfind(" ", 20, _WIDTH)
        at = at if at > 0 else _WIDTH
        lines.append(rest[:at])
        rest = " " + rest[at:].lstrip()
    return [*lines, rest] if rest.strip() else lines


def _printable(text: str) -> str:
    return _UNPRINTABLE.sub(" ", text).strip()


def _decoded(xtext: bytes) -> str:
    """Give what xtext (RFC 3461 section 4) stands for, as far as it can stand in a field."""
    plain = _XTEXT.sub(lambda found: bytes([int(found[1], 16)]), xtext)
    return _printable(plain.decode("ascii", "replace"))


def _shown(address: bytes) -> str:
    """Write an address in ASCII: what is beyond it as RFC 6533 section 3 writes it."""
    text = address.decode("utf-8", "replace")
    return "".join(char if " " <= char <= "~" else f"\\x{{{ord(char):X}}}" for char in text)


def _final(address: bytes) -> str:
    return f"{'rfc822' if address.isascii() else 'utf-8'}; {_shown(address)}"

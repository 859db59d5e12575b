"""Mail that comes back: delivery reports (RFC 3464), complaints (RFC 5965), automatic replies (RFC
3834).

Guarantees: complete messages with CRLF line ends, ASCII but for the returned message, which is
carried as its octets. Which address they go to, and when, is the actor's affair.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """What a report is about, and who writes it."""

    sender: str  # envelope sender of the mail it is about
    recipient: str
    content: bytes
    at: float  # seconds since the epoch
    host: str = "mx.sandbox.test"


def delivery_report(about: Returned, *, status: str, diagnostic: str, whole: bool = False) -> bytes:
    """Write a report that the mail failed; `status` as in "5.1.1", `diagnostic` as in "550 5.1.1
    No such user".

    The original's header is returned, or with `whole` all of it.
    """
    header, _, _ = about.content.partition(b"\r\n\r\n")
    returned = about.content if whole else header + b"\r\n"
    kind = "message/rfc822" if whole else "text/rfc822-headers"
    text = (
        f"This is the mail server {about.host}.\r\n\r\n"
        f"Your message could not be delivered to <{about.recipient}>:\r\n\r\n    {diagnostic}\r\n"
    )
    status_part = (
        f"Reporting-MTA: dns; {about.host}\r\nArrival-Date: {_date(about.at)}\r\n\r\n"
        f"Final-Recipient: rfc822; {about.recipient}\r\nAction: failed\r\nStatus: {status}\r\n"
        f"Diagnostic-Code: smtp; {diagnostic}\r\n"
    )
    return _report(
        about,
        {
            "From": f"Mail Delivery System <MAILER-DAEMON@{about.host}>",
            "To": f"<{about.sender}>",
            "Subject": "Undelivered Mail Returned to Sender",
            "Auto-Submitted": "auto-replied",
        },
        "delivery-status",
        [("text/plain; charset=us-ascii", text.encode()),
         ("message/delivery-status", status_part.encode()), (kind, returned)],
    )  # fmt: skip


def complaint(about: Returned, *, to: str, kind: str = "abuse") -> bytes:
    """Write a complaint in the abuse reporting format, with the whole original."""
    text = f"This is an e-mail abuse report for a message received on {_date(about.at)}.\r\n"
    report = (
        f"Feedback-Type: {kind}\r\nUser-Agent: Waypost-Sandbox/1\r\nVersion: 1\r\n"
        f"Original-Mail-From: <{about.sender}>\r\nOriginal-Rcpt-To: <{about.recipient}>\r\n"
        f"Arrival-Date: {_date(about.at)}\r\nReporting-MTA: dns; {about.host}\r\n"
    )
    return _report(
        about,
        {
            "From": f"Feedback Loop <feedback@{about.host}>",
            "To": f"<{to}>",
            "Subject": "Complaint about a message",
        },
        "feedback-report",
        [("text/plain; charset=us-ascii", text.encode()),
         ("message/feedback-report", report.encode()), ("message/rfc822", about.content)],
    )  # fmt: skip


def automatic_reply(about: Returned, *, message_id: str, subject: str) -> bytes:
    """Write the reply of somebody who is away."""
    fields = {
        "From": f"<{about.recipient}>",
        "To": f"<{about.sender}>",
        "Subject": f"Automatic reply: {_ascii(subject)[:200]}",
        "Date": _date(about.at),
        "Message-ID": f"<{_mark(about, 'reply')}@{about.host}>",
        "In-Reply-To": _ascii(message_id),
        "Auto-Submitted": "auto-replied",
        "Precedence": "auto_reply",
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=us-ascii",
    }
    body = "I am out of the office and will answer when I am back.\r\n"
    return _header(fields) + b"\r\n" + body.encode()


def _report(
    about: Returned, fields: dict[str, str], kind: str, parts: list[tuple[str, bytes]]
) -> bytes:
    border = f"=_{_mark(about, kind)}"
    whole = {
        **fields,
        "Date": _date(about.at),
        "Message-ID": f"<{_mark(about, kind)}@{about.host}>",
        "MIME-Version": "1.0",
        "Content-Type": f'multipart/report; report-type={kind};\r\n boundary="{border}"',
    }
    written = [_header(whole), b"\r\nThis is a MIME-encapsulated message.\r\n"]
    for content_type, content in parts:
        head = f"\r\n--{border}\r\nContent-Type: {content_type}\r\n"
        if not content.isascii():
            head += "Content-Transfer-Encoding: 8bit\r\n"
        written += [head.encode(), b"\r\n", content]
    written.append(f"\r\n--{border}--\r\n".encode())
    return b"".join(written)


def _header(fields: dict[str, str]) -> bytes:
    lines = (f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return "".join(lines).encode("ascii", "replace")


def _mark(about: Returned, kind: str) -> str:
    """Give a name that no other report has, and that is the same for the same report."""
    about_what = f"{kind}\0{about.sender}\0{about.recipient}\0{about.at}".encode()
    return hashlib.sha256(about_what + about.content).hexdigest()[:32]


def _date(at: float) -> str:
    return format_datetime(datetime.fromtimestamp(at, UTC))


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode("ascii").replace("\r", " ").replace("\n", " ")

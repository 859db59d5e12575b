"""Reports and complaints are what RFC 3464, 5965 and 3834 ask for, read by the standard library."""

from __future__ import annotations

import email
from email.message import Message
from email.utils import parsedate_to_datetime

import pytest

from relay.sandbox.returns import Returned, automatic_reply, complaint, delivery_report

CONTENT = "Subject: Grüße\r\nMessage-ID: <7@shop.test>\r\n\r\nHallo Jürgen\r\n".encode()
ABOUT = Returned(
    sender="b+abc@bounce.waypost.test",
    recipient="ann@sandbox.test",
    content=CONTENT,
    at=1_790_000_000.0,
)


def parsed(raw: bytes) -> Message:
    """Read a mail strictly enough that a defect fails the test."""
    assert b"\n" not in raw.replace(b"\r\n", b"")
    message = email.message_from_bytes(raw)
    for part in message.walk():
        assert not part.defects
    return message


def fields(part: Message) -> dict[str, str]:
    """Join the header blocks of a report part."""
    return {name: value for block in parts(part) for name, value in block.items()}


def parts(message: Message) -> list[Message]:
    """Give the parts of a multipart or report part."""
    payload = message.get_payload()
    assert isinstance(payload, list)
    return [part for part in payload if isinstance(part, Message)]


@pytest.mark.parametrize("whole", [False, True])
def test_delivery_report(whole: bool) -> None:
    raw = delivery_report(ABOUT, status="5.1.1", diagnostic="550 5.1.1 No such user", whole=whole)
    message = parsed(raw)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert message["To"] == "<b+abc@bounce.waypost.test>"
    assert message["Auto-Submitted"] == "auto-replied"
    assert parsedate_to_datetime(message["Date"]).timestamp() == ABOUT.at
    text, status, returned = parts(message)
    assert text.get_content_type() == "text/plain"
    assert fields(status)["Status"] == "5.1.1"
    assert fields(status)["Final-Recipient"] == "rfc822; ann@sandbox.test"
    assert fields(status)["Action"] == "failed"
    assert returned.get_content_type() == ("message/rfc822" if whole else "text/rfc822-headers")
    assert ("Hallo Jürgen".encode() in raw) is whole
    assert b"Message-ID: <7@shop.test>" in raw


def test_complaint() -> None:
    raw = complaint(ABOUT, to="fbl@waypost.test")
    message = parsed(raw)
    assert message.get_param("report-type") == "feedback-report"
    _, report, original = parts(message)
    assert fields(report)["Feedback-Type"] == "abuse"
    assert fields(report)["Version"] == "1"
    assert fields(report)["User-Agent"]
    assert fields(report)["Original-Rcpt-To"] == "<ann@sandbox.test>"
    assert original.get_content_type() == "message/rfc822"
    assert CONTENT in raw


def test_automatic_reply() -> None:
    message = parsed(automatic_reply(ABOUT, message_id="<7@shop.test>", subject="Grüße\r\nX: y"))
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["In-Reply-To"] == "<7@shop.test>"
    assert message["From"] == "<ann@sandbox.test>"
    assert "X" not in message


def test_two_reports_have_two_names() -> None:
    first = parsed(complaint(ABOUT, to="x@y.test"))["Message-ID"]
    other = Returned(sender=ABOUT.sender, recipient="bob@x.test", content=CONTENT, at=ABOUT.at)
    assert parsed(complaint(other, to="x@y.test"))["Message-ID"] != first

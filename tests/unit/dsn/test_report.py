"""A notice reads back, with our own reader and with the standard library's, as what it was made
from; hostile text stays text.
"""

from __future__ import annotations

from email import message_from_bytes
from email.message import Message
from email.policy import default

import msgspec
import pytest

from bounces.read import read as read_bounce
from relay.dsn.report import Report, write
from relay.mail.lines import has_long_line, is_crlf_clean

CONTENT = b"Message-ID: <1@shop.test>\r\nFrom: news@shop.test\r\nSubject: Hi\r\n\r\nHello\r\n"
REPORT = Report(
    action="failed",
    hostname="mx.relay.test",
    to=b"news@shop.test",
    recipient=b"ann@inbox.test",
    at=1_763_629_200_000_000,
    arrived_at=1_763_629_100_000_000,
    message_id="<abc@mx.relay.test>",
    about="<1@shop.test>",
    status="5.1.1",
    diagnostic="550 5.1.1 no such user",
    remote="mx.inbox.test",
    envid=b"order+2B17",
    orcpt=b"rfc822;ann+2Bx@inbox.test",
)


def groups(written: bytes) -> list[Message]:
    """Give the groups of fields in the machine's part."""
    parsed = message_from_bytes(written, policy=default)
    assert parsed.get_content_type() == "multipart/report"
    assert parsed.get_param("report-type") == "delivery-status"
    status = parsed.get_payload(1)
    assert isinstance(status, Message)
    found = status.get_payload()
    assert isinstance(found, list)
    return [group for group in found if isinstance(group, Message) and group.items()]


def test_the_fields_are_what_was_told() -> None:
    written = write(REPORT, CONTENT, whole=False)
    about, recipient = groups(written)
    assert about["Reporting-MTA"] == "dns; mx.relay.test"
    assert about["Original-Envelope-Id"] == "order+17"
    assert recipient["Original-Recipient"] == "rfc822; ann+x@inbox.test"
    assert recipient["Final-Recipient"] == "rfc822; ann@inbox.test"
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.1.1")
    assert recipient["Remote-MTA"] == "dns; mx.inbox.test"
    assert recipient["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user"
    head = message_from_bytes(written, policy=default)
    assert (head["To"], head["Auto-Submitted"]) == ("news@shop.test", "auto-replied")
    assert head["In-Reply-To"] == "<1@shop.test>"
    returned = head.get_payload(2)
    assert isinstance(returned, Message)
    assert returned.get_content_type() == "text/rfc822-headers"
    assert b"Hello" not in written


def test_our_own_reader_of_bounces_understands_it() -> None:
    (record,) = read_bounce(write(REPORT, CONTENT, whole=False)).records
    assert record.recipient == "ann@inbox.test"
    assert (record.category, record.reason) == ("hard", "userunknown")


def test_ret_full_returns_every_byte() -> None:
    content = CONTENT + "Grüße\r\n".encode() + b"\xff\xfe\r\n"
    assert content in write(REPORT, content, whole=True)


@pytest.mark.parametrize("action", ["failed", "delayed", "relayed"])
def test_hostile_text_stays_text(action: str) -> None:
    hostile = (
        "550 5.1.1 a\r\nAction: delivered\r\n\r\n--=_abc\r\nX: \x1b]0;y\x07 ä\u2028" + "z" * 5000
    )
    report = msgspec.structs.replace(
        REPORT,
        action=action,
        diagnostic=hostile,
        remote="mx\r\nAction: expanded",
        about="<1@x>\r\nBcc: x@y.test",
        recipient="änn@inbox.test".encode(),
        envid=b"a+0D+0AAction: x",
        orcpt=b"rfc822;a+0D+0Ab",
    )
    written = write(report, CONTENT, whole=False)
    assert is_crlf_clean(written)
    assert not has_long_line(written)
    assert written.isascii()
    _about, recipient = groups(written)
    assert recipient.get_all("Action") == [action]
    assert recipient["Final-Recipient"] == "utf-8; \\x{E4}nn@inbox.test"
    parsed = message_from_bytes(written, policy=default)
    assert parsed["Bcc"] is None
    assert len(parsed.get_payload()) == 3

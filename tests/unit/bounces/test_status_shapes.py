"""Status parts as they really come: fields without types, indented, disguised, with names only."""

import pytest

from bounces.read import read

HEAD = (
    "Return-Path: <>\nFrom: MAILER-DAEMON@mx.isp.test\nTo: b@shop.test\nSubject: Undelivered Mail\n"
    "MIME-Version: 1.0\n"
    "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"
)
TEXT = "--b\nContent-Type: text/plain\n\nYour message could not be delivered.\n\n"
PART = "--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.isp.test\n\n"
COPY = (
    "\n--b\nContent-Type: message/rfc822\n\nFrom: Shop <news@shop.test>\nTo: ann@inbox.test\n"
    "Message-ID: <n1@shop.test>\nSubject: News\n\nHello\n--b--\n"
)
REST = "Action: failed\nStatus: 5.1.1\n"
UNKNOWN = ("ann@inbox.test", "hard", "userunknown")

SHAPES: dict[str, str] = {
    "no type": f"Final-Recipient: ann@inbox.test\n{REST}",
    "brackets": f"Final-Recipient: rfc822; <ann@inbox.test>\n{REST}",
    "a name in front": f'Final-Recipient: rfc822; "Ann" <ann@inbox.test>\n{REST}',
    "comments": (
        "Final-Recipient: rfc822; ann@inbox.test (Ann)\nAction: failed (permanent)\n"
        "Status: 5.1.1 (bad destination)\n"
    ),
    "capitals": "FINAL-RECIPIENT: RFC822;ann@inbox.test\nACTION: Failed\nSTATUS: 5.1.1\n",
    "only the original recipient": f"Original-Recipient: rfc822; ann@inbox.test\n{REST}",
    "a local name": (
        f"Original-Recipient: rfc822; ann@inbox.test\nFinal-Recipient: LOCAL;ann\n{REST}"
    ),
    "an X.400 name and the original": (
        f"Original-Recipient: rfc822; ann@inbox.test\nFinal-Recipient: x400; /CN=Ann/C=DE\n{REST}"
    ),
    "an X.400 name alone": f"Final-Recipient: x400; /CN=Ann/C=DE\n{REST}",
    "no status": (
        "Final-Recipient: rfc822; ann@inbox.test\nAction: failed\n"
        "Diagnostic-Code: smtp; 550 unknown user\n"
    ),
    "no action": "Final-Recipient: rfc822; ann@inbox.test\nStatus: 5.1.1\n",
    "an SMTP code as status": (
        "Final-Recipient: rfc822; ann@inbox.test\nAction: failed\nStatus: 550\n"
        "Diagnostic-Code: 550 unknown user\n"
    ),
    "folded": (
        f"Final-Recipient: rfc822;\n ann@inbox.test\n{REST}"
        "Diagnostic-Code: smtp;\n 550 5.1.1\n\tunknown\n user\n"
    ),
    "indented": "  Final-Recipient: rfc822; ann@inbox.test\n  Action: failed\n  Status: 5.1.1\n",
    "tabs": "Final-Recipient:\trfc822;ann@inbox.test\nAction:\tfailed\nStatus:\t5.1.1\n",
    "a dot at the end": f"Final-Recipient: rfc822; ann@inbox.test.\n{REST}",
    "mailto": f"Final-Recipient: rfc822; mailto:ann@inbox.test\n{REST}",
    "encoded words": f"Final-Recipient: rfc822; =?utf-8?Q?ann=40inbox.test?=\n{REST}",
    "a part's header once more": (
        f"Content-Type: message/delivery-status\n\nFinal-Recipient: rfc822; ann@inbox.test\n{REST}"
    ),
}


def wrapped(fields: str, kind: str = "message/delivery-status") -> bytes:
    """Put the fields of a recipient into a report."""
    return f"{HEAD}{TEXT}{PART}{fields}{COPY}".replace("message/delivery-status", kind).encode()


def found(message: bytes) -> list[tuple[str, str, str]]:
    """Give what a mail says about whom."""
    return [(r.recipient, r.category.value, r.reason) for r in read(message).records]


@pytest.mark.parametrize("fields", SHAPES.values(), ids=SHAPES.keys())
def test_shape_names_the_recipient(fields: str) -> None:
    """Whatever is odd about the fields, with any line ends."""
    message = wrapped(fields)
    assert found(message) == [UNKNOWN]
    assert found(message.replace(b"\n", b"\r\n")) == [UNKNOWN]


@pytest.mark.parametrize("kind", ["application/octet-stream", "application/x-report", "text/plain"])
def test_a_status_part_of_another_type_is_read(kind: str) -> None:
    """Gateways attach it as a file."""
    assert found(wrapped(f"Final-Recipient: rfc822; ann@inbox.test\n{REST}", kind)) == [UNKNOWN]


def test_an_ordinary_attachment_is_no_status_part() -> None:
    """A person's mail with a document stays a person's mail."""
    message = (
        "From: Bob <bob@other.test>\nTo: b@shop.test\nSubject: Report\n"
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nSee there.\n"
        "--b\nContent-Type: application/octet-stream\n\nFinal score: 3 to 1\n--b--\n"
    )
    assert found(message.encode()) == []


def test_recipients_are_told_apart() -> None:
    """One unknown, one full, one reached."""
    groups = (
        f"Final-Recipient: rfc822; ann@inbox.test\n{REST}\n"
        "Final-Recipient: rfc822; bob@inbox.test\nAction: failed\nStatus: 5.2.2\n"
        "Diagnostic-Code: smtp; 552 mailbox full\n\n"
        "Final-Recipient: rfc822; eve@inbox.test\nAction: delivered\nStatus: 2.0.0\n"
    )
    assert found(wrapped(groups)) == [
        UNKNOWN,
        ("bob@inbox.test", "soft", "mailboxfull"),
        ("eve@inbox.test", "not-bounce", "delivered"),
    ]


def test_words_explain_an_empty_status() -> None:
    """5.0.0 says nothing, the text beside it does."""
    text = TEXT.replace("Your message", "<ann@inbox.test>: user unknown\n\nYour message")
    fields = "Final-Recipient: rfc822; ann@inbox.test\nAction: failed\nStatus: 5.0.0\n"
    assert found(f"{HEAD}{text}{PART}{fields}{COPY}".encode()) == [UNKNOWN]


def test_a_program_of_the_last_host_speaks_under_x_unix() -> None:
    """RFC 3464 section 2.3.6 leaves the type to the reporter; sendmail and Postfix write x-unix."""
    fields = "Final-Recipient: rfc822; ann@inbox.test\nAction: failed\nStatus: 5.3.0\n"
    fields += "Diagnostic-Code: x-unix; temporary failure\n"
    assert found(wrapped(fields)) == [("ann@inbox.test", "soft", "mailererror")]

"""Hostile mails end as a result: endless lines, MIME bombs, a million of anything (promise 6).

Nothing is timed here; the time limit per test is the bound that fails.
"""

import pytest

from bounces.anatomy import MAX_PARTS, take_apart, untag
from bounces.classify import classify_line
from bounces.read import read
from bounces.report import MAX_DIAGNOSTIC, MAX_RECORDS, Kind

HEAD = b"Return-Path: <>\nFrom: MAILER-DAEMON@x.test\nSubject: Undelivered mail\n"
TEXT = HEAD + b"Content-Type: text/plain\n\n"
HTML = HEAD + b"Content-Type: text/html\n\n"
STATUS = (
    HEAD
    + b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n"
    + b"Content-Type: message/delivery-status\n\n"
)
BOMB = HEAD + b"".join(
    b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(20_000)
)

HOSTILE = {
    "10 MB of one letter": b"a" * 10_000_000,
    "10 MB of line feeds": b"\n" * 10_000_000,
    "10 MB of carriage returns": b"\r" * 10_000_000,
    "10 MB of NUL": b"\0" * 10_000_000,
    "10 MB of high bytes": b"\xff" * 10_000_000,
    "endless line": TEXT + b"x" * 10_000_000,
    "at signs": TEXT + b"@" * 1_000_000,
    "half addresses": TEXT + b"a@" * 1_000_000,
    "addresses, one per line": TEXT + b"<ann@inbox.test>:\n" * 50_000,
    "addresses, one line": TEXT + b" ann@inbox.test" * 70_000,
    "long local part": TEXT + b"a" * 60_000 + b"@" + b"b." * 60_000,
    "reply codes": TEXT + b"550 " * 250_000,
    "angle brackets": TEXT + b"<" * 1_000_000,
    "open tags": HTML + b"<a " * 400_000,
    "open comments": HTML + b"<!--" * 300_000,
    "open scripts": HTML + b"<script>" * 200_000,
    "endless decimal reference": HTML + b"&#" + b"1" * 5_000 + b";",
    "endless reference of zeros": HTML + b"&#" + b"0" * 5_000,
    "endless hexadecimal reference": HTML + b"&#x" + b"f" * 5_000 + b";",
    "MIME bomb": BOMB,
    "many parts": HEAD + b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 200_000,
    "prefix boundaries": HEAD
    + b"Content-Type: multipart/mixed; boundary=b\n\n--b\n"
    + b"--bb\n" * 200_000,
    "many groups": STATUS + b"Final-Recipient: rfc822; a@b.test\nAction: failed\n\n" * 20_000,
    "folded status": STATUS
    + b"Final-Recipient: rfc822; a@b.test\nDiagnostic-Code: x"
    + b"\n x" * 300_000,
    "nested mails": (HEAD + b"Content-Type: message/rfc822\n\n") * 5_000,
    "encoded words": HEAD.replace(b"Undelivered", b"=?utf-8?q?" + b"=?" * 100_000) + b"\n",
    "parameters": HEAD + b"Content-Type: multipart/mixed" + b"; a=b" * 100_000 + b"\n\nx",
    "endless quoted parameter": HEAD
    + b'Content-Type: multipart/mixed; boundary="'
    + b"\\" * 100_000
    + b"\n\nx",
    "nested JSON": TEXT + b'{"notificationType":' + b"[" * 1_000_000,
    "copied header": TEXT + b"x\nReceived: x\n" + b" y\n" * 100_000,
    "the same word": TEXT + b"user " * 300_000,
    "sentences": TEXT + b"message to " * 100_000,
    "RCPT": TEXT + b"RCPT TO:" * 100_000,
    "asides": TEXT + b"(expanded from " * 100_000,
    "8-bit header": HEAD.replace(b"MAILER", b"\xff\xfe\x80") + b"\n\xff\xfe",
    "empty": b"",
    "no From": b"\n\n\n",
}


@pytest.mark.parametrize("message", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_mail_ends_as_a_report(message: bytes) -> None:
    """Read to the end, whatever it is called then, and never an unbounded text."""
    report = read(message)
    assert report.kind in Kind
    assert len(report.records) <= MAX_RECORDS
    assert all(len(r.diagnostic) <= MAX_DIAGNOSTIC for r in report.records)
    assert all(len(r.recipient) <= 330 for r in report.records)


def test_parts_are_counted_and_the_rest_is_said_to_be_missing() -> None:
    """The limit on parts is kept and told."""
    mail = take_apart(HOSTILE["many parts"])
    assert len(mail.parts) == MAX_PARTS
    assert mail.truncated


def test_many_recipients_are_cut_and_told() -> None:
    """500 recipients of one report are enough; the report says that there were more."""
    group = b"Final-Recipient: rfc822; a%d@b.test\nAction: failed\nStatus: 5.1.1\n\n"
    report = read(STATUS + b"".join(group % n for n in range(MAX_RECORDS + 50)))
    assert len(report.records) == MAX_RECORDS
    assert report.truncated


@pytest.mark.parametrize("text", ["550 " + "user " * 500_000, "5" * 1_000_000, "a@" * 500_000])
def test_endless_replies_are_judged(text: str) -> None:
    """The classifier looks at a bounded piece."""
    assert classify_line(text).klass


def test_control_characters_stay_out_of_diagnostics() -> None:
    """Remote text goes to terminals and logs: no escapes, no line ends."""
    report = read(
        STATUS + b"Final-Recipient: rfc822; a@b.test\nDiagnostic-Code: smtp; 550 \x1b[31m no\x07\n"
    )
    assert report.records[0].diagnostic.isprintable()


def test_an_address_in_brackets_is_no_tag() -> None:
    """HTML is stripped of tags, not of addresses; hidden parts go."""
    text = untag("<p>Sorry <ann@inbox.test></p><style>x</style><!-- <b> --><script>y")
    assert text.split() == ["Sorry", "<ann@inbox.test>"]


def test_a_reference_without_end_is_a_space_and_others_are_read() -> None:
    """A number of thousands of digits is no character."""
    text = untag("ann&#64;inbox.test &#x40; a&#" + "9" * 5_000 + ";b&#x110000;c")
    assert text == "ann@inbox.test @ a b\ufffdc"

"""Messages and parts that are never touched, byte for byte."""

import pytest

from tests.harness.tracked import (
    HEAD,
    delivered,
    html_message,
    multipart,
    page,
    plan_of,
    read,
)
from tracking.offline import rewrite

LINK = "https://h.test/a?x=1"


TEXT_PART = b"Content-Type: text/plain\r\n\r\ntext " + LINK.encode() + b"\r\n"
HTML_PART = b"Content-Type: text/html\r\n\r\n<a href='" + LINK.encode() + b"'>x</a>\r\n"
ATTACHED = b"Content-Disposition: attachment\r\n" + HTML_PART
INNER = b"Content-Type: message/rfc822\r\n\r\nSubject: in\r\n" + HTML_PART
CALENDAR = b"Content-Type: text/calendar\r\n\r\nURL:" + LINK.encode() + b"\r\n"
AMP = HTML_PART.replace(b"text/html", b"text/x-amp-html")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (multipart("mixed", TEXT_PART, ATTACHED), "attachment"),
        (multipart("mixed", b'Content-Disposition: "Attachment"\r\n' + HTML_PART), "attachment"),
        (multipart("mixed", b"Content-Disposition: unheard-of\r\n" + HTML_PART), "attachment"),
        (multipart("mixed", TEXT_PART, INNER), "no-html"),
        (multipart("signed", HTML_PART, TEXT_PART), "in-signed"),
        (multipart("encrypted", HTML_PART, TEXT_PART), "in-encrypted"),
        (multipart("report", TEXT_PART, HTML_PART), "report"),
        (multipart("alternative", TEXT_PART, CALENDAR), "no-html"),
        (multipart("alternative", TEXT_PART, AMP), "no-html"),
        (multipart("alternative", TEXT_PART), "no-html"),
        (HEAD + b"Content-Type: application/pkcs7-mime\r\n\r\nMII", "no-html"),
        (html_message("-----BEGIN PGP MESSAGE-----\r\n<a href='https://h.test/'>"), "inline-pgp"),
        (html_message(page(""), extra=b"DKIM-Signature: v=1; a=x\r\n"), "signed"),
        (html_message(page(""), extra=b"ARC-Seal: i=1\r\n"), "signed"),
        (html_message(page(""), extra=b"Content-Type: text/html\r\n"), "duplicate-content-type"),
        (html_message(page(""), extra=b"MIME-Version: 1.0\r\n"), "duplicate-mime-version"),
        (html_message(page(""), extra=b"no colon\r\n"), "bad-header"),
        (html_message(page(""), extra=b"Subject :x\r\n"), "bad-header"),
        (html_message(page("")).replace(b"\r\n", b"\n"), "bare-line-end"),
        (html_message(page("a\nb")), "bare-line-end"),
        (html_message(page("a\rb")), "bare-line-end"),
        (html_message(page("\0")), "nul"),
        (html_message(page(""), "x-uuencode"), "unknown-encoding"),
        (html_message(page("=GG"), "quoted-printable").replace(b"=3DGG", b"=GG"), "qp-malformed"),
        (html_message(page(""), "base64") + b"footer!", "base64-malformed"),
        (html_message(page("x" * 999)), "line-limit"),
        (html_message(""), "empty"),
        (multipart("mixed", HTML_PART).replace(b"--b--", b""), "unclosed"),
        (multipart("mixed", HTML_PART, extra="; boundary=c"), "duplicate-boundary"),
        (multipart("mixed", HTML_PART, extra="; a=1; a=2; boundary=c"), "duplicate-boundary"),
        (
            multipart("mixed", HTML_PART.replace(b"html", b"html; charset=gbk; charset=utf-8")),
            "duplicate-charset",
        ),
        (b"Subject: only a header", "no-html"),
        (b"", "bad-header"),
    ],
)
def test_messages_left_byte_for_byte(message: bytes, reason: str) -> None:
    plan = plan_of(message)
    assert plan.skipped == reason
    assert delivered(message) == message


def test_parts_beside_the_changed_one_stay_byte_for_byte() -> None:
    parts = [TEXT_PART, ATTACHED, INNER, CALENDAR, AMP]
    message = multipart("mixed", HTML_PART, *parts)
    out = delivered(message)
    assert out != message
    assert out.endswith(message[message.index(TEXT_PART) :])
    assert out.startswith(message[: message.index(b"'" + LINK.encode())])


def test_a_signed_message_is_changed_on_request_only() -> None:
    message = html_message(page(f'<a href="{LINK}">x</a>'), extra=b"DKIM-Signature: v=1\r\n")
    assert delivered(message) == message
    assert read(rewrite(message)).targets == [LINK]


@pytest.mark.parametrize(
    "value",
    [
        b"<mailto:u@h.test>,\r\n <https://h.test/u?a=1&b=2>",
        b"<https://h.test/u?\r\n a=1&b=2>",
        b"https://h.test/u?a=1&b=2",
        b"mailto:u@h.test, https://h.test/u?a=1&b=2",
    ],
)
def test_urls_of_list_unsubscribe_stay(value: bytes) -> None:
    extra = b"List-Unsubscribe: " + value + b"\r\n"
    content = f'<a href="https://h.test/u?a=1&amp;b=2">off</a><a href="{LINK}">x</a>'
    plan = plan_of(html_message(page(content), extra=extra))
    assert [each.rule for each in plan.decisions if each.offset >= 0] == ["list-unsubscribe", ""]

"""Mail made of structured fields: an independent parser reads what was meant, and nothing that a
field holds becomes a header line of its own (M05).
"""

from __future__ import annotations

import base64
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import msgspec
import pytest

from relay.control.operations.compose import compose, option_fields
from relay.control.operations.handing_in import NewMessage
from relay.errors import InvalidError
from relay.mail.header import split
from relay.mail.lines import has_long_line, is_crlf_clean

PLAIN: dict[str, Any] = {"from": "Shop <news@shop.test>", "to": ["ann@inbox.test"]}
HOSTILE = ("a\r\nBcc: x@evil.test", "a\nb", "a\rb", "a\0b", "a\u2028b", "a\x1bb", "a\tb", "a\x85b")
HIDDEN = ("=?utf-8?q?=0aBcc:x?=", "=?utf-8?b?DQpCY2M6IHg=?=", "ok =?us-ascii?Q?a=0D=0Ab?= ok")


def new(**fields: object) -> NewMessage:
    """Read fields as the door does."""
    return msgspec.convert({**PLAIN, **fields}, NewMessage)


def read(content: bytes) -> EmailMessage:
    """Read with the standard library's parser."""
    return message_from_bytes(content, policy=default)


def test_text_html_a_picture_and_a_file_are_what_was_given() -> None:
    picture, file = b"\x89PNG\0\xff", bytes(range(256)) * 40
    content = compose(
        new(
            to=["Ann Ä <ann@inbox.test>", '"Doe, Bob" <bob@inbox.test>'],
            cc=["cem@inbox.test"],
            bcc=["hidden@inbox.test"],
            reply_to=["help@shop.test"],
            subject="Grüße, " + "sehr lang " * 30,
            text="Grüße\n.\n" + "x" * 3000,
            html="<p>Grüße</p><img src='cid:logo@shop'>",
            attachments=[
                {"content": base64.b64encode(picture).decode(), "type": "image/png",
                 "content_id": "logo@shop"},
                {"content": base64.b64encode(file).decode(), "filename": "Übersicht.pdf",
                 "type": "application/pdf"},
            ],
            headers={"X-Mailer": "shop", "References": "<" + "a" * 300 + "@shop.test>"},
        )
    )  # fmt: skip
    message = read(content)
    assert is_crlf_clean(content)
    assert content.isascii()
    assert not has_long_line(content)
    assert message["From"] == "Shop <news@shop.test>"
    assert [one.addr_spec for one in message["To"].addresses] == [
        "ann@inbox.test", "bob@inbox.test",
    ]  # fmt: skip
    assert [one.display_name for one in message["To"].addresses] == ["Ann Ä", "Doe, Bob"]
    assert "hidden" not in content.decode()
    assert str(message["Subject"]).split() == ("Grüße, " + "sehr lang " * 30).split()
    assert message["References"] == "<" + "a" * 300 + "@shop.test>"
    text = message.get_body(("plain",))
    html = message.get_body(("html",))
    assert text is not None
    assert html is not None
    assert text.get_content() == "Grüße\r\n.\r\n" + "x" * 3000 + "\r\n"
    assert html.get_content() == "<p>Grüße</p><img src='cid:logo@shop'>\r\n"
    parts = {part.get_content_type(): part for part in message.walk()}
    assert parts["image/png"]["Content-ID"] == "<logo@shop>"
    assert parts["image/png"].get_payload(decode=True) == picture
    assert parts["application/pdf"].get_filename() == "Übersicht.pdf"
    assert parts["application/pdf"].get_payload(decode=True) == file
    assert message.get_content_type() == "multipart/mixed"


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"text": "hi"}, "text/plain"),
        ({"html": "<p>hi"}, "text/html"),
        ({"text": "hi", "html": "<p>hi"}, "multipart/alternative"),
        ({}, "text/plain"),
    ],
)
def test_no_more_structure_than_is_needed(fields: dict[str, str], kind: str) -> None:
    assert read(compose(new(**fields))).get_content_type() == kind


@pytest.mark.parametrize("value", HOSTILE + HIDDEN)
@pytest.mark.parametrize("place", ["subject", "name", "address", "header", "filename", "option"])
def test_no_value_becomes_a_line_of_its_own(place: str, value: str) -> None:
    places: dict[str, dict[str, object]] = {
        "subject": {"subject": value},
        "name": {"from": f"{value} <news@shop.test>"},
        "address": {"to": [f"{value}@inbox.test"]},
        "header": {"headers": {"X-Thing": value}},
        "filename": {"attachments": [{"content": "", "filename": value}]},
        "option": {"options": {"tags": [value], "metadata": {"k": value}}},
    }
    try:
        made = new(**places[place])
    except msgspec.ValidationError:
        return  # refused by its type already
    with pytest.raises(InvalidError):
        option_fields(made) + compose(made)


@pytest.mark.parametrize(
    "name", ["From", "bcc", "Content-Type", "X Y", "X:Y", "X\r\nY", "", "Ä", "Received", "to"]
)
def test_headers_that_have_a_field_of_their_own_are_not_set_here(name: str) -> None:
    with pytest.raises(InvalidError):
        compose(new(headers={name: "x"}))


@pytest.mark.parametrize(
    "fields",
    [
        {"from": ""},
        {"from": "nobody"},
        {"to": ["a@b@c"]},
        {"attachments": [{"content": "%%%"}]},
        {"attachments": [{"content": "", "type": "message/rfc822"}]},
        {"attachments": [{"content": "", "type": "text/plain; charset=x"}]},
        {"attachments": [{"content": "", "content_id": "a"}]},
        {"html": "x", "attachments": [{"content": "", "content_id": "a b"}]},
        {"text": "a\0b"},
        {"headers": {"X-Long": "x" * 999}},
    ],
)
def test_what_cannot_be_mail_is_refused_by_name(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidError) as refused:
        compose(new(**fields))
    assert refused.value.field


def test_a_utf8_address_stays_and_an_idn_domain_becomes_ascii() -> None:
    content = compose(new(to=["ännä@inbox.test", "bob@bücher.test"]))
    assert "ännä@inbox.test, bob@xn--bcher-kva.test".encode() in content


def test_options_become_the_control_headers_that_acceptance_reads() -> None:
    fields = option_fields(
        new(
            options={
                "campaign": "spring", "tags": ["a", "ü"], "metadata": {"Key": 'v"ä'},
                "track_opens": False, "not_before": "2026-12-01T10:00:00+01:00", "priority": -3,
            }
        )
    )  # fmt: skip
    read_back = {(field.name, field.text.decode()) for field in split(fields).fields}
    assert read_back == {
        (b"X-Waypost-Campaign", "spring"),
        (b"X-Waypost-Tag", "a"),
        (b"X-Waypost-Tag", "ü"),
        (b"X-Waypost-Metadata", '{"Key": "v\\"ä"}'),
        (b"X-Waypost-Track-Opens", "off"),
        (b"X-Waypost-Not-Before", "2026-12-01T10:00:00+01:00"),
        (b"X-Waypost-Priority", "-3"),
    }

"""From: names one sending domain for every reader, or the message is refused."""

from __future__ import annotations

import pytest

from relay.acceptance.dialects.reading import read_options
from relay.acceptance.headers import check_hidden_fields
from relay.acceptance.senders import from_domain
from relay.errors import RefusedError
from relay.mail.header import split


@pytest.mark.parametrize(
    "value",
    [
        b"news@shop.test",
        b"<news@shop.test>",
        b"Shop <news@SHOP.test>",
        b'"Shop, Inc." <news@shop.test>',
        b"Shop, Inc. <news@shop.test>",
        b"Sad :( <news@shop.test>",
        b"news@shop.test <news@shop.test>",
        b'"boss@bank.test, " <news@shop.test>',
        b'"x\\" <boss@bank.test>, " <news@shop.test>',
        b"news@shop.test (Shop)",
        b"(a(b)c) Shop <news@shop.test> (x(y)z)",
        b'"a b"@shop.test',
        b'"<a@b>"@shop.test',
        b'<"a>b"@shop.test>',
        b"\r\n Shop\r\n\t<news@shop.test>",
    ],
)
def test_one_address_is_found(value: bytes) -> None:
    assert from_domain(split(b"From: " + value + b"\r\n\r\n")) == "shop.test"


@pytest.mark.parametrize(
    "value",
    [
        b"boss@bank.test, <news@shop.test>",
        b"<boss@bank.test>, <news@shop.test>",
        b"<boss@bank.test> <news@shop.test>",
        b"boss@bank.test, news@shop.test",
        b"boss@bank.test (<news@shop.test>",
        b"boss@bank.test (x <news@shop.test> (y)",
        b'"<boss@bank.test>, <news@shop.test>',
        b"Group: boss@bank.test, <news@shop.test>;",
        b"Group: <news@shop.test>;",
        b"<news@shop.test>" + (b" " * 900 + b"\r\n ") * 3 + b", <boss@bank.test>",
        b'"<news@shop.test>"',
        b"<>",
        b"",
    ],
)
def test_what_could_be_read_as_another_sender_is_refused(value: bytes) -> None:
    with pytest.raises(RefusedError) as refused:
        from_domain(split(b"From: " + value + b"\r\n\r\n"))
    assert (refused.value.code, refused.value.enhanced) == (550, "5.6.0")


def test_a_first_field_with_space_before_its_colon_counts() -> None:
    with pytest.raises(RefusedError, match="2 found"):
        from_domain(split(b"From : boss@bank.test\r\nFrom: news@shop.test\r\n\r\n"))
    assert from_domain(split(b"From : news@shop.test\r\n\r\n")) == "shop.test"


@pytest.mark.parametrize("field", [b"From: boss@bank.test", b"bcc : x@y.test", b"X-Waypost-Tag: a"])
def test_fields_that_matter_do_not_hide_behind_a_line_that_is_none(field: bytes) -> None:
    content = b"From: news@shop.test\r\nno field\r\n" + field + b"\r\n\r\nHello\r\n"
    with pytest.raises(RefusedError, match="no header field"):
        check_hidden_fields(content, split(content))


@pytest.mark.parametrize(
    "rest", [b"no field\r\n\r\nBcc: in the body\r\n", b"\r\nBcc: in the body\r\n", b"no field\r\n"]
)
def test_a_body_may_say_anything(rest: bytes) -> None:
    content = b"From: news@shop.test\r\n" + rest
    check_hidden_fields(content, split(content))


def test_blind_copies_are_taken_out_of_forwarded_mail_too() -> None:
    header = split(b"Bcc: a@b.test\r\nResent-BCC: c@d.test\r\nResent-Cc: e@f.test\r\n\r\n")
    assert [field.name for field in read_options(header, "waypost", 0).strip] == [
        b"Bcc",
        b"Resent-BCC",
    ]

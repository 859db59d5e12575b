"""Parameters of MAIL and RCPT, value by value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.submission.parameters import ParameterError, read_recipient, read_sender


def sender_error(raw: bytes) -> bytes:
    with pytest.raises(ParameterError) as raised:
        read_sender(raw, limit=1000, smtputf8=True, dsn=True)
    return raised.value.reply[:9]


def recipient_error(raw: bytes, *, smtputf8: bool = True) -> bytes:
    with pytest.raises(ParameterError) as raised:
        read_recipient(raw, dsn=True, smtputf8=smtputf8)
    return raised.value.reply[:9]


@pytest.mark.parametrize(
    ("raw", "reply"),
    [
        (b"SIZE", b"501 5.5.4"),
        (b"SIZE=", b"501 5.5.4"),
        (b"SIZE=-1", b"501 5.5.4"),
        (b"SIZE=1e3", b"501 5.5.4"),
        (b"SIZE=1001", b"552 5.3.4"),
        (b"SIZE=" + b"9" * 30, b"501 5.5.4"),
        (b"BODY=8BIT", b"501 5.5.4"),
        (b"SMTPUTF8=1", b"501 5.5.4"),
        (b"RET=ALL", b"501 5.5.4"),
        (b"RET=FULL RET=HDRS", b"501 5.5.4"),
        (b"ENVID=a=b", b"501 5.5.4"),
        (b"ENVID=a+2b", b"501 5.5.4"),
        (b"ENVID=+1B[31m", b"501 5.5.4"),
        (b"AUTH=+0D", b"501 5.5.4"),
        (b"=x", b"501 5.5.4"),
        (b"\xff=x", b"501 5.5.4"),
        (b"X=\x00", b"501 5.5.4"),
        (b"NOTIFY=NEVER", b"555 5.5.4"),
        (b"DELIVERBY=1;R", b"555 5.5.4"),
        (b"REQUIRETLS", b"555 5.5.4"),  # not promised: docs/delivery.md
    ],
)
def test_bad_parameter_of_mail(raw: bytes, reply: bytes) -> None:
    assert sender_error(raw) == reply


@pytest.mark.parametrize(
    "raw",
    [
        b"NOTIFY=",
        b"NOTIFY=NEVER,NEVER",
        b"NOTIFY=SUCCESS,",
        b"NOTIFY=ALWAYS",
        b"ORCPT=rfc822;",
        b"ORCPT=;a",
        b"ORCPT=rfc822;" + b"a" * 500,
        b"ORCPT=rfc822;\xc3\xa9",
        b"ORCPT=utf-8;\xff",
        b"ORCPT=utf-8;a\\x{0A}",
        b"ORCPT=utf-8;a\\x{85}",
        b"ORCPT=utf-8;a\\b",
    ],
)
def test_bad_parameter_of_rcpt(raw: bytes) -> None:
    assert recipient_error(raw) == b"501 5.5.4"
    assert recipient_error(b"SIZE=1") == b"555 5.5.4"


def test_good_parameters_of_rcpt() -> None:
    assert read_recipient(b"", dsn=True, smtputf8=False) == ("", b"")
    assert read_recipient(b"notify=never", dsn=True, smtputf8=False) == ("NEVER", b"")
    for orcpt in (b"rfc822;A+40b", b"utf-8;a\\x{E9}", b"UTF-8;a@b", b"x-other;+2B"):
        assert read_recipient(b"ORCPT=" + orcpt, dsn=True, smtputf8=False) == ("", orcpt)
    accented = "utf-8;é@d".encode()
    assert read_recipient(b"ORCPT=" + accented, dsn=True, smtputf8=True) == ("", accented)
    assert recipient_error(b"ORCPT=" + accented, smtputf8=False) == b"501 5.5.4"


def test_usual_parameters_are_read_as_all_others() -> None:
    usual = read_sender(b"SIZE=10 BODY=8BITMIME", limit=1000, smtputf8=True, dsn=True)
    other = read_sender(b"BODY=8BITMIME SIZE=10", limit=1000, smtputf8=True, dsn=True)
    assert usual == other
    assert (usual.size, usual.eightbit) == (10, True)


@given(st.binary(max_size=80))
def test_any_bytes_are_parameters_or_a_parameter_error(raw: bytes) -> None:
    for read in (
        lambda: read_sender(raw, limit=1000, smtputf8=True, dsn=True),
        lambda: read_recipient(raw, dsn=True, smtputf8=True),
    ):
        try:
            read()
        except ParameterError as error:
            reply = error.reply
            assert reply[:3] in (b"501", b"552", b"555")

"""Charset labels as browsers read them, sorted by how safely bytes can be searched."""

import pytest

from relay.mail import charset
from relay.mail.charset import Kind


@pytest.mark.parametrize(
    ("label", "codec", "kind"),
    [
        ("UTF-8", "utf-8", Kind.UTF8),
        ("utf8", "utf-8", Kind.UTF8),
        ("utf-8-sig", "utf-8", Kind.UTF8),
        ("us-ascii", "cp1252", Kind.SINGLE),
        ("ISO-8859-1", "cp1252", Kind.SINGLE),
        ("iso-8859-15", "iso8859-15", Kind.SINGLE),
        ("windows-1251", "cp1251", Kind.SINGLE),
        ("KOI8-R", "koi8-r", Kind.SINGLE),
        ("cp850", "cp850", Kind.SINGLE),
        ("gb2312", "gb18030", Kind.MULTI),
        ("gbk", "gb18030", Kind.MULTI),
        ("gb18030", "gb18030", Kind.MULTI),
        ("big5", "big5hkscs", Kind.MULTI),
        ("shift_jis", "cp932", Kind.MULTI),
        ("euc-jp", "euc_jp", Kind.MULTI),
        ("ks_c_5601-1987", "cp949", Kind.MULTI),
        ("iso-2022-jp", "iso2022_jp", Kind.STATEFUL),
        ("iso-2022-kr", "iso2022_kr", Kind.STATEFUL),
        ("hz-gb-2312", "hz", Kind.STATEFUL),
        ("utf-16", "utf-16", Kind.WIDE),
        ("utf-16le", "utf-16-le", Kind.WIDE),
        ("utf-32", "utf-32", Kind.WIDE),
        ("utf-7", "utf-7", Kind.WIDE),
        ("cp037", "cp037", Kind.WIDE),
        ("johab", "johab", Kind.WIDE),
    ],
)
def test_labels(label: str, codec: str, kind: Kind) -> None:
    found = charset.lookup(label)
    assert found is not None
    assert (found.codec, found.kind) == (codec, kind)


@pytest.mark.parametrize(
    "label", ["", "x-unknown-99", "base64", "rot13", "a\0b", "x" * 1000, "hex"]
)
def test_labels_that_name_no_charset(label: str) -> None:
    assert charset.lookup(label) is None


def test_trailing_bytes_of_multi_byte_charsets_are_never_markup() -> None:
    for codec in ("gb18030", "big5hkscs", "cp932", "euc_jp", "cp949"):
        for lead in range(0x80, 0x100):
            for trail in b"<>\"'=&/ #\t\r\n":
                pair = bytes((lead, trail))
                try:
                    decoded = pair.decode(codec)
                except UnicodeDecodeError:
                    continue  # a part with such bytes is left alone
                assert decoded[-1:] == chr(trail), f"{codec} {pair!r}"


def test_text_is_always_readable() -> None:
    assert charset.decode("\u00e9".encode(), "no-such") == "\u00e9"
    assert charset.decode(b"\xe9", "no-such") == "\u00e9"
    assert charset.decode(b"\xff", "utf-8") == "\ufffd"


@pytest.mark.parametrize("label", ["unicode_escape", "raw-unicode-escape", "idna", "x-none-such"])
def test_codecs_that_are_no_charsets_of_mail_are_unknown(label: str) -> None:
    assert charset.lookup(label) is None

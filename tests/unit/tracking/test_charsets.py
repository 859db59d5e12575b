"""Every charset that occurs in mail is handled, or left with the reason."""

from urllib.parse import quote

import pytest

from tests.harness.tracked import HEAD, delivered, html_message, page, plan_of, read
from tracking.offline import RING, rewrite, unmap
from tracking.tokens import read as read_token
from tracking.urls import destination

SAMPLES = {
    "gb18030": "\u4e2d\u6587\u529f\u80fd\U00020000",
    "gb2312": "\u4e2d\u6587",
    "gbk": "\u4e2d\u6587",
    "big5": "\u4e2d\u6587\u529f\u80fd\u8a31\u84cb",  # trailing bytes 0x5C
    "shift_jis": "\u8868\u793a\u30bd\u4e88\u65e5\u672c",  # trailing bytes 0x5C
    "euc-jp": "\u65e5\u672c\u8a9e",
    "euc-kr": "\ud55c\uad6d\uc5b4",
    "koi8-r": "\u043f\u0440\u0438\u0432\u0435\u0442",
    "windows-1251": "\u043f\u0440\u0438\u0432\u0435\u0442",
    "iso-8859-1": "caf\u00e9",
    "iso-8859-2": "\u017elu\u0165",
    "iso-8859-15": "\u20ac",
    "utf-8": "\u4e2d\u00e9\U0001f600",
}


@pytest.mark.parametrize("encoding", ["8bit", "quoted-printable", "base64"])
@pytest.mark.parametrize("charset", SAMPLES)
def test_text_around_links_survives(charset: str, encoding: str) -> None:
    text = SAMPLES[charset]
    source = page(f'{text}<a title="{text}" href="https://h.test/x">{text}</a>{text}').encode(
        charset
    )
    out = delivered(html_message(source, encoding, charset))
    reading = read(out)
    assert reading.targets == ["https://h.test/x"]
    assert reading.pixels == 1
    assert text.encode(charset) + b"</a>" + text.encode(charset) in reading.html[0]


@pytest.mark.parametrize("charset", SAMPLES)
def test_text_in_a_query_becomes_what_a_browser_sends(charset: str) -> None:
    text = SAMPLES[charset]
    source = page(f'<a href="https://h.test/{text}?q={text}">x</a>').encode(charset)
    (url,) = read(delivered(html_message(source, "base64", charset))).hrefs
    assert unmap(url) == f"https://h.test/{text}?q={text}"
    token = url.rsplit("/", 1)[1]
    path, _, query = destination(
        read_token(token, "t.waypost.test", RING).destination
    ).location.partition(b"?q=")
    utf8 = quote(text).encode()
    # percent-encoded are only the bytes that are not printable ASCII (URL Standard 1.3)
    own = b"".join(
        bytes((byte,)) if 0x21 <= byte <= 0x7E else b"%%%02X" % byte
        for byte in text.encode(charset)
    )
    assert path == b"https://h.test/" + utf8
    assert query == own


JAPANESE = "\u65e5\u672c\u8a9e<\u3042>"


@pytest.mark.parametrize("encoding", ["7bit", "quoted-printable", "base64"])
def test_iso_2022_jp_is_searched_between_its_escapes_only(encoding: str) -> None:
    # in JIS the two bytes of a character may be "<" and a letter
    hidden = b"\x1b$B<a href='https://no.test/'\x1b(B"
    source = (
        page(f'{JAPANESE}<a href="https://h.test/x">{JAPANESE}</a>').encode("iso2022_jp")
    ).replace(b"</a>", b"</a>" + hidden)
    out = delivered(html_message(source, encoding, "iso-2022-jp"))
    assert b"https://no.test/" in read(out).html[0]
    assert [target for target in read(out).targets if target] == ["https://h.test/x"]
    assert hidden in read(out).html[0]


@pytest.mark.parametrize(
    ("charset", "reason"),
    [
        ("utf-16", "charset-wide"),
        ("utf-16le", "charset-wide"),
        ("utf-16be", "charset-wide"),
        ("utf-32", "charset-wide"),
        ("utf-7", "charset-wide"),
        ("hz-gb-2312", "charset-stateful"),
        ("iso-2022-kr", "charset-stateful"),
        ("x-unknown-99", "charset-unknown"),
        ("johab", "charset-wide"),
        ("cp037", "charset-wide"),
    ],
)
def test_charsets_that_cannot_be_spliced_are_left(charset: str, reason: str) -> None:
    source = page("\u00e9<a href='https://h.test/'>x</a>")
    body = source.encode("utf-16-le" if charset == "utf-16" else "utf-8")
    if charset == "utf-16":
        body = b"\xff\xfe" + body
    message = html_message(body, "base64", charset)
    assert plan_of(message).skipped in (reason, "nul")
    assert delivered(message) == message


@pytest.mark.parametrize("charset", ["gb18030", "big5", "shift_jis", "euc-jp", "euc-kr"])
def test_bytes_that_are_no_text_in_their_charset_are_left(charset: str) -> None:
    body = page("<a href='https://h.test/'>x</a>").encode() + b"\x81\x20\xff\xff"
    assert plan_of(html_message(body, "8bit", charset)).skipped == "charset-invalid"


def test_big5_of_windows_is_text_too() -> None:
    body = page("@<a href='https://h.test/'>x</a>").encode().replace(b"@", b"\xa3\xe1")
    assert plan_of(html_message(body, "8bit", "big5")).skipped == ""


def test_an_href_that_is_no_text_leaves_its_part() -> None:
    body = page("<a href='https://h.test/@'>x</a>").encode().replace(b"@", b"\xff")
    assert plan_of(html_message(body, "8bit", "utf-8")).skipped == "charset-invalid"


def test_invalid_utf_8_elsewhere_does_no_harm() -> None:
    body = page("@<a href='https://h.test/'>x</a>@").encode().replace(b"@", b"\xff")
    assert read(delivered(html_message(body, "8bit", "utf-8"))).targets == ["https://h.test/"]


@pytest.mark.parametrize(
    ("body", "query"),
    [
        (b"<meta charset=windows-1252>" + b"<a href='https://h.test/?\xe9'>x</a>", b"%E9"),
        (b"<meta charset=utf-16>" + "<a href='https://h.test/?\u00e9'>x</a>".encode(), b"%C3%A9"),
        ("<a href='https://h.test/?\u00e9'>x</a>".encode(), b"%C3%A9"),
        (b"<a href='https://h.test/?\xe9'>x</a>", b"%E9"),
        ("\ufeff<a href='https://h.test/?\u00e9'>x</a>".encode(), b"%C3%A9"),
    ],
)
def test_without_a_label_the_document_decides(body: bytes, query: bytes) -> None:
    message = HEAD + b"Content-Type: text/html\r\n\r\n" + body
    out = rewrite(message)
    url = out.partition(b"href='")[2].partition(b"'")[0].decode()
    data = read_token(url.rsplit("/", 1)[1], "t.waypost.test", RING).destination
    assert destination(data).location.partition(b"?")[2] == query


def test_an_unknown_label_on_plain_ascii_does_no_harm() -> None:
    source = page("<a href='https://h.test/'>x</a>")
    assert plan_of(html_message(source.encode(), "7bit", "x-unknown-99")).skipped == ""


def test_a_label_that_hides_escape_sequences_is_left() -> None:
    body = page("<a href='https://h.test/'>x</a>").encode() + b"\x1b(I<a\x1b(B"
    assert plan_of(html_message(body, "7bit", "us-ascii")).skipped == "charset-stateful"

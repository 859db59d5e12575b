"""Which URLs are tracked, and that their bytes survive as a browser would send them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.urls import (
    QUERY_CHARSETS,
    BadDestinationError,
    ascii_host,
    destination,
    field,
    judge,
    location,
    usual_host,
)

OWN = frozenset({"t.shop.test"})

# M17 of the bad inputs, and the schemes of the rewriting rules
LEFT = [
    ("", "empty"),
    ("  \t", "empty"),
    ("#frag", "fragment"),
    ("//host/x", "protocol-relative"),
    ("/x", "relative"),
    ("x.html", "relative"),
    ("?q", "relative"),
    ("mailto:a@b.test", "scheme"),
    ("tel:+1", "scheme"),
    ("sms:+1", "scheme"),
    ("javascript:alert(1)", "scheme"),
    ("data:text/html,x", "scheme"),
    ("cid:logo", "scheme"),
    ("ftp://h/x", "scheme"),
    ("HTTPX://h/x", "scheme"),
    ("view-source:https://h/", "scheme"),
    ("http:/x", "no-host"),
    ("http:x", "no-host"),
    ("http:\\\\x", "no-host"),
    ("https://", "no-host"),
    ("https:///x", "no-host"),
    ("https://?q", "no-host"),
    ("https://user@/x", "no-host"),
    ("https://h:99999/", "bad-host"),
    ("https://h:x/", "bad-host"),
    ("https://a b.test/", "bad-host"),
    ("https://a<b.test/", "bad-host"),
    ("https://[::1/", "bad-host"),
    ("{{merge}}", "placeholder"),
    ("{{{ href }}}", "placeholder"),
    ("%%unsubscribe%%", "placeholder"),
    ("*|UNSUB|*", "placeholder"),
    ("https://h.test/?id={{ subscriber.uuid }}", "placeholder"),
    ("https://{{host}}/x", "placeholder"),
    ("https://h.test/%%id%%", "placeholder"),
    ("https://h.test/*|ID|*", "placeholder"),
    ("https://h.test/%recipient%", "placeholder"),
    ("https://h.test/%recipient.id%?x", "placeholder"),
    ("https://h.test/${id}", "placeholder"),
    ("https://h.test/<%= id %>", "placeholder"),
    ("https://h.test/{% url %}", "placeholder"),
    ("https://h.test/[[id]]", "placeholder"),
    ("https://t.shop.test/c/abc", "own-host"),
    ("https://T.Shop.Test:443/c/abc", "own-host"),
    ("https://t.shop.test./c/abc", "own-host"),
    ("https://user@t.shop.test/", "own-host"),
    ("https://h.test/u", "list-unsubscribe"),
]


@pytest.mark.parametrize(("value", "reason"), LEFT, ids=[value for value, _ in LEFT])
def test_left_alone(value: str, reason: str) -> None:
    assert judge(value, OWN, {"https://h.test/u"}).reason == reason


TRACKED = [
    "https://h.test",
    "HTTP://H.TEST/",
    "https://h?x",
    "https://h#f",
    "https://h.test:8443/x",
    "https://user:pw@h.test/",
    "https://[2001:db8::1]/x",
    "http://[::1]/",
    "https://192.0.2.1/",
    "https://h.test./",
    "https://localhost/",
    "https://a_b.test/",
    "https://h.test/,@!$'*|{}",
    "https://h.test/a\\b^`",
    'https://h.test/"quoted"',
    "https://h.test/with space",
    "https://h.test/%7B%7Bx%7D%7D",
    "https://h.test/?e=%%",
    "https://h.test/?q=100%25&r=%20a%20",
    "https://h.test/%C3%A4%C3%B6",
    'https://h.test/?q={"a":{"b":1}}',
    "https://h.test/?a[b[0]]=1",
    "https://h.test/{x}[x]$x{",
    "https://h.test/../a/./b",
    "https://h.test/%2F+%2f",
    "https://t.shop.test.evil.test/c/abc",
    "https://h.test/?u=https://t.shop.test/",
    "https://%33%36.test/",
    "https://b\u00fccher.test/\u00fc?q=\u00fc#\u00fc",
]


@pytest.mark.parametrize("url", TRACKED)
def test_tracked(url: str) -> None:
    assert judge(url, OWN, frozenset()) == ("", url)


@pytest.mark.parametrize(
    ("value", "url"),
    [
        (" https://h.test/a ", "https://h.test/a"),
        ("\nhttps://h.test/a\r\n", "https://h.test/a"),
        ("ht\ttps://h.\r\ntest/a\tb", "https://h.test/ab"),
        ("\x00\x1fhttps://h.test/", "https://h.test/"),
    ],
)
def test_values_are_trimmed_as_browsers_do(value: str, url: str) -> None:
    assert judge(value, OWN, frozenset()) == ("", url)


@given(st.sampled_from(TRACKED + [value for value, _ in LEFT]))
def test_the_shortcut_agrees_with_the_rules(url: str) -> None:
    host = usual_host(url.encode())
    if host is not None and host not in OWN:
        assert judge(url, OWN, frozenset()) == ("", url)


@given(st.text("htps:/.?#%{}[]*|$<>&@a1_- \\", max_size=40).map("http".__add__))
def test_the_shortcut_never_takes_more(url: str) -> None:
    host = usual_host(url.encode())
    if host is not None:
        assert judge(url, (), ()) == ("", url)


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60))
def test_printable_ascii_survives_byte_for_byte(path: str) -> None:
    url = "https://h.test/" + path
    if judge(url, (), ()).reason or url != url.strip():
        return
    data = field(url, "utf-8")
    assert data == url.encode()
    assert destination(data).location == url.encode()


# Expected values are what Chromium puts on the wire for a page in the charset.
WIRE = [
    ("https://h.test/\u00fc?q=\u00fc#\u00fc", "utf-8", b"https://h.test/%C3%BC?q=%C3%BC#%C3%BC"),
    ("https://h.test/\u00fc?q=\u00fc", "cp1252", b"https://h.test/%C3%BC?q=%FC"),
    ("https://h.test/?q=\u4e2d", "gb18030", b"https://h.test/?q=%D6%D0"),
    ("https://h.test/?q=\u4e2d", "big5hkscs", b"https://h.test/?q=%A4%A4"),
    ("https://h.test/?q=\u3042", "cp932", b"https://h.test/?q=%82%A0"),
    ("https://h.test/?q=\u0436", "koi8-r", b"https://h.test/?q=%D6"),
    ("https://h.test/?q=\u4e2d&x", "cp1252", b"https://h.test/?q=%26%2320013%3B&x"),
    ("https://b\u00fccher.test/", "utf-8", b"https://xn--bcher-kva.test/"),
    ("https://\u4f8b\u3048.jp/\u30d1?q", "cp932", b"https://xn--r8jz45g.jp/%E3%83%91?q"),
    ("https://stra\u00dfe.test/", "utf-8", b"https://xn--strae-oqa.test/"),
    ("https://h.test/\U0001f600", "utf-8", b"https://h.test/%F0%9F%98%80"),
    ("https://h.test/a b\u00fc", "utf-8", b"https://h.test/a%20b%C3%BC"),
    ("https://\u00fc:p@h.test:8/", "utf-8", b"https://%C3%BC:p@h.test:8/"),
    ("https://h.test/\x7f", "utf-8", b"https://h.test/%7F"),
]


@pytest.mark.parametrize(("url", "charset", "wire"), WIRE)
def test_other_urls_become_what_a_browser_sends(url: str, charset: str, wire: bytes) -> None:
    data = field(url, charset)
    assert data is not None
    found = destination(data)
    assert found.url == url
    assert found.location == wire


@given(st.text(max_size=30), st.sampled_from(QUERY_CHARSETS))
def test_a_location_never_breaks_a_header(text: str, charset: str) -> None:
    url = judge("https://h.test/" + text, (), ()).url
    try:
        url.encode()
    except UnicodeEncodeError:
        assert field(url, charset) is None
        return
    assert all(0x20 <= byte <= 0x7E for byte in location(url, charset))


def test_unknown_query_charsets_are_refused() -> None:
    assert field("https://h.test/?q=\u00fc", "cp850") is None
    assert field("https://h.test/\u00fc", "cp850") == "https://h.test/\u00fc".encode()


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00https://h.test/", b"\x3fhttps://h.test/", b"javascript:x", b"\xff", b"//h.test/",
     b"https://", b"\x01", b"\x22\x03https://h.test/", b"https://h.test/\r\n"],
)  # fmt: skip
def test_fields_that_nobody_wrote_are_refused(data: bytes) -> None:
    with pytest.raises(BadDestinationError):
        destination(data)


@pytest.mark.parametrize(
    "host",
    [
        *("\u2100.test", "\uff0f.test", "x\uff20y.test", "x\uff1a80.test", "a\u037e.test"),
        *("e\ufe0f.test", "\u1e9e.test", "a\u3164.test", "\u0301a.test", "a\u2028b.test"),
        *("\u2603\ufe0f.test", "\u00fc" * 64),
    ],
)
def test_hosts_in_doubt_are_none(host: str) -> None:
    assert ascii_host(host) is None
    assert judge(f"https://{host}/", (), ()).reason == "bad-host"


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("\u03c3\u03b1\u03a3", "xn--mxa9ab"),  # no final sigma for a capital one
        ("\u2460\u2461.test", "12.test"),
        ("stra\u00dfe\u3002test", "xn--strae-oqa.test"),
    ],
)
def test_hosts_are_folded_as_browsers_do(host: str, name: str) -> None:
    assert ascii_host(host) == name


@pytest.mark.parametrize(
    ("charset", "text", "wire"),
    [
        ("gb18030", "\u20ac\U0001f600\u4f60", b"%A2%E3%949%FC6%C4%E3"),
        ("gbk", "\u20ac\U0001f600\u4f60", b"%80%26%23128512%3B%C4%E3"),
        ("big5hkscs", "\u20ac\u00e9\u4f60", b"%A3%E1%26%23233%3B%A7A"),
        ("euc_jp", "\u20ac\u4f60\u65e5", b"%26%238364%3B%26%2320320%3B%C6%FC"),
    ],
)
def test_browsers_write_less_than_they_read(charset: str, text: str, wire: bytes) -> None:
    assert location(f"https://h.test/?{text}", charset) == b"https://h.test/?" + wire


def test_half_a_japanese_character_is_no_fragment() -> None:
    # the letter is the bytes "&#" between escape sequences
    assert location("https://h.test/?\u0393", "iso2022_jp") == b"https://h.test/?%1B$B&%23%1B(B"


@pytest.mark.parametrize(
    ("charset", "character"),
    [("cp932", "\u2170"), ("euc_jp", "\u2160"), ("big5hkscs", "\u2027"), ("gbk", "\ufe10")],
)
def test_characters_that_codecs_disagree_about_are_left_in_queries(
    charset: str, character: str
) -> None:
    assert field(f"https://h.test/?{character}", charset) is None
    assert field(f"https://h.test/{character}", charset) is not None


def test_a_port_behind_a_name_beyond_ascii_stays() -> None:
    assert location("http://b\u00fccher:8080/", "utf-8") == b"http://xn--bcher-kva:8080/"


def test_the_list_of_charsets_only_grows() -> None:
    assert QUERY_CHARSETS[:2] == ("utf-8", "cp1252")
    assert QUERY_CHARSETS.index("iso2022_jp") == 33
    assert len(QUERY_CHARSETS) <= 0x40

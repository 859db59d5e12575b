"""Mails in a real browser before and after rewriting: the same pictures, the same requests.

Pictures are taken at the size of the original, wide and narrow, and compared pixel by pixel (equal
bytes of a picture file without loss). Requests are compared as the shop's server sees them, with
the address shown afterwards; the tracked link goes through our own redirect.
"""

from __future__ import annotations

import asyncio
import email
import json
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver

from tests.harness.chromium import chromium
from tests.harness.tracked import html_message, page
from tests.harness.tracked_pages import Pages, pages

ROOT = Path(__file__).parents[2]
CORPUS = Path(os.environ.get("WAYPOST_CORPORA", ROOT.parent / "shared" / "corpora")) / "mails"
MAX_HEIGHT = 6000  # of a picture; what is below has not moved if the page is as high as before
SAMPLE = 8
WIDTHS = (800, 380)

needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no corpus at {CORPUS}")
pytestmark = pytest.mark.timeout(180)


@pytest.fixture
async def site() -> AsyncIterator[Pages]:
    async with pages() as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    with chromium(loopback="*.test", width=WIDTHS[0]) as running:
        yield running


# ------------------------------------------------------------------------------- pictures


@dataclass(frozen=True)
class Shown:
    """An HTML part as it stands in a message."""

    charset: str
    html: bytes


def html_parts(message: bytes) -> list[Shown]:
    """Give the decoded HTML parts, read by the standard library."""
    found = []
    for part in email.message_from_bytes(message).walk():
        if part.get_content_type() == "text/html":
            payload = part.get_payload(decode=True)
            assert isinstance(payload, bytes)
            found.append(Shown(part.get_content_charset() or "", payload))
    return found


def picture(browser: webdriver.Chrome, url: str, width: int, height: int = 0) -> tuple[int, str]:
    """Give the height of a page and its picture; with `height` that much of it."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(url)
    size = browser.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    clip = {"x": 0, "y": 0, "width": width, "height": height or size["height"], "scale": 1}
    clip["height"] = max(1, min(clip["height"], MAX_HEIGHT))
    taken = browser.execute_cdp_cmd(
        "Page.captureScreenshot",
        {"format": "png", "clip": clip, "captureBeyondViewport": True, "fromSurface": True},
    )
    return size["height"], taken["data"]


def differences(browser: webdriver.Chrome, site: Pages, message: bytes) -> list[str]:
    """Give in which part and width a message looks another way after rewriting."""
    after = site.rewritten(message)
    found = []
    for number, (old, new) in enumerate(zip(html_parts(message), html_parts(after), strict=True)):
        if old.html == new.html:
            continue
        urls = [
            site.show(f"{i}.html", each.charset, each.html) for i, each in enumerate((old, new))
        ]
        for width in WIDTHS:
            height, before = picture(browser, urls[0], width)
            grown, behind = picture(browser, urls[1], width, height)
            if before != behind:
                found.append(f"part {number} at {width} pixels: another picture")
            elif grown > height + 1:
                found.append(f"part {number} at {width} pixels: {height} high became {grown}")
    return found


RESPONSIVE = (
    "<style>img{display:block!important;position:static!important;width:100%!important;"
    "height:auto!important;min-height:40px;margin:9px!important;padding:5px!important;"
    "border:3px solid red!important;background:#fc0!important;float:left;outline:2px solid}</style>"
)
TABLE = '<table width="100%" bgcolor="#eeeeee"><tr><td>a</td><td><a href="http://h.test/">b</a>'
LOOKS = {
    "plain": page('<p>text <a href="http://h.test/">link</a></p>'),
    "responsive": page(f'{RESPONSIVE}<p>text <a href="http://h.test/">link</a></p>'),
    "without end": '<body>text <a href="http://h.test/">link</a>',
    "two ends": page('<a href="http://h.test/">x</a></body></html><p>more</p>'),
    "table": page(TABLE + "</td></tr></table>"),
    "open table": "<body>" + TABLE + " and no end",
    "flex": "<style>body{display:flex;justify-content:space-between}</style>"
    + page('<div>a</div><a href="http://h.test/">b</a>'),
    "grid": "<style>body{display:grid;grid-template-columns:1fr 1fr;gap:9px}</style>"
    + page('<div>a</div><a href="http://h.test/">b</a>'),
    "columns": "<style>body{columns:2}</style>" + page("<p>word word</p>" * 30),
    "right to left": '<html dir="rtl"><p>text <a href="http://h.test/">x</a> end</body></html>',
    "bottom": "<!doctype html><style>html,body{height:100%;margin:0}</style>"
    + page('<div style="height:100%;background:#cde"><a href="http://h.test/">x</a></div>'),
    "pre": page('<pre>a\r\n<a href="http://h.test/">b</a>\r\n\r\n</pre>'),
    "formatting": '<body><b><u><i>never closed <a href="http://h.test/">x</a><font size="7">y',
    "comments": page(
        '<a href="http://h.test/">x</a><!-- </body> --><!--[if mso]></body><![endif]-->'
    ),
    "spans": page('<span style="border:1px solid">x</span> <a href="http://h.test/">y</a> z  '),
}


@pytest.mark.parametrize("name", LOOKS)
async def test_a_rewritten_page_looks_the_same(
    browser: webdriver.Chrome, site: Pages, name: str
) -> None:
    message = html_message(LOOKS[name], "quoted-printable")
    assert site.rewritten(message) != message
    assert await asyncio.to_thread(differences, browser, site, message) == []


async def test_the_comparison_sees_one_pixel(browser: webdriver.Chrome, site: Pages) -> None:
    plain = page("<p>text</p>")
    dot = '<i style="position:absolute;width:1px;height:1px;background:#fdfdfd"></i></body>'
    urls = [
        site.show("0.html", "utf-8", plain.encode()),
        site.show("1.html", "utf-8", plain.replace("</body>", dot).encode()),
    ]

    def both() -> tuple[str, str]:
        height, before = picture(browser, urls[0], 800)
        return before, picture(browser, urls[1], 800, height)[1]

    before, after = await asyncio.to_thread(both)
    assert before != after


def corpus() -> list[dict[str, Any]]:
    """Give the truth lines of mails that are rewritten."""
    lines = map(json.loads, (CORPUS / "truth.jsonl").read_text().splitlines())
    return [line for line in lines if any(p["eligible"] == "yes" for p in line["html_parts"])]


async def unlike(browser: webdriver.Chrome, site: Pages, mails: list[dict[str, Any]]) -> list[str]:
    found = []
    for each in mails:
        message = (CORPUS / "mails" / each["file"]).read_bytes()
        said = await asyncio.to_thread(differences, browser, site, message)
        found += [f"{each['file']}: {one}" for one in said]
    return found


@needs_corpus
async def test_a_sample_of_the_corpus_looks_the_same(
    browser: webdriver.Chrome, site: Pages
) -> None:
    mails = corpus()
    assert await unlike(browser, site, mails[:: max(1, len(mails) // SAMPLE)]) == []


@needs_corpus
@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_the_whole_corpus_looks_the_same(browser: webdriver.Chrome, site: Pages) -> None:
    assert await unlike(browser, site, corpus()) == []


# ------------------------------------------------------------------------------- requests

S = "http://shop.test:PORT"
PLAIN = [
    f"{S}",
    f"{S}?q",
    f"{S}/a?x=1&amp;y=2#z",
    f"{S}/a?x=1&y=2&copy=3&amp;lt=4&#38;c=5&#x26;d&#0000000000038;e",
    f"{S}/a?a=&quot;b&quot;&apos;c'",
    f"{S}/with space/and  two?q=a b c#d e",
    f"  {S}/around  ",
    f"{S}/new\r\nline\t/tab?\r\nx",
    f"{S}/br[ack]ets?a[b]=c|d^e`f{{g}}",
    f"{S}/<angle>?<x>#<y>",
    f"{S}\\back\\slash?a\\b#c\\d",
    f"{S}/up/../down/./x//y/..",
    f"{S}/%2e%2E/a/%2e/b/.%2e/c",
    f"{S}/100%?100%&%zz&%&%4#%",
    f"{S}/%c3%A9%00%20%2F?%c3%A9+%2B",
    f"{S}/a?b?c#d#e?f",
    f"{S}/;p=1,2!$'()*:@~-._",
    f"{S}/#frag#ment",
    f"{S}/?next=https://other.test/?a=1%26b=2",
    "HTTP://Shop.TEST:PORT/Case",
    "http://sh%6Fp.test:PORT/escaped/host",
    "http://127.1:PORT/short/address",
    "http://0x7f.0.0.1:PORT/hex/address",
    f"{S}/\x7f?\x7f",
    f"{S}/a&nbsp;b?&nbsp;&shy;&#8364;",
]
WORDS = {
    "utf-8": "\u00e4\u00f6 \u4f60\u597d \U0001f600 e\u0301 \ufb01",
    "iso-8859-1": "\u00e4\u00f6\u00fc \u00df\u20ac\u2013",
    "windows-1251": "\u043f\u0440\u0438\u0432\u0435\u0442",
    "koi8-r": "\u043f\u0440\u0438\u0432\u0435\u0442",
    "iso-8859-2": "\u0159\u017e\u0142",
    "gb18030": "\u4f60\u597d\u20ac\U0001f600",
    "gbk": "\u4f60\u597d",
    "gb2312": "\u4f60\u597d",
    "big5": "\u4f60\u597d",
    "shift_jis": "\u65e5\u672c\u8a9e \uff76\uff85 \uff5e\uff0d",
    "euc-jp": "\u65e5\u672c\u8a9e",
    "iso-2022-jp": "\u65e5\u672c\u8a9e \u0393\u041a",
    "euc-kr": "\ud55c\uad6d\uc5b4",
}
PYTHON = {"iso-8859-1": "cp1252", "gbk": "gb18030", "shift_jis": "cp932"}
HOSTS = [
    "b\u00fccher",
    "stra\u00dfe",
    "BU\u0308CHER",
    "\u4f8b\u3048",
    "\uff41bc",
    "\u03c3\u03b1\u03a3",
]


def rows(charset: str) -> list[str]:
    """Give hrefs for a page in this charset."""
    word = WORDS[charset]
    there = [
        f"{S}/{word}?{word}=x&amp;y={word}#{word}",
        f"{S}/a?&#8364;&#128512;&#x4f60;&eacute;{word}",
    ]
    if charset == "utf-8":
        hosts = [f"http://{host}.test:PORT/h/{word}" for host in HOSTS]
        return PLAIN + there + hosts
    return there


def body_of(hrefs: list[str], charset: str, port: int) -> bytes:
    links = [
        f'<p><a href="{href.replace("PORT", str(port)).replace(chr(34), "&quot;")}">{n}</a></p>'
        for n, href in enumerate(hrefs)
    ]
    return page("\r\n".join(links)).encode(PYTHON.get(charset, charset))


# Opens every link in a frame of its own; each tells what its server was asked.
_FOLLOW = """
const done = arguments[0], links = [...document.links], told = links.map(() => null);
let missing = links.length;
const frames = links.map((link, n) => {
    const frame = document.createElement("iframe");
    frame.name = link.target = "frame" + n;
    document.body.append(frame);
    return frame;
});
addEventListener("message", event => {
    const n = frames.findIndex(frame => frame.contentWindow === event.source);
    if (n < 0 || told[n] !== null) return;
    told[n] = event.data;
    missing -= 1;
    if (!missing) done(told);
});
links.forEach(link => link.click());
"""


def followed(browser: webdriver.Chrome, url: str) -> list[list[str]]:
    """Follow every link of a page; give request line, Host field and the address shown then."""
    browser.get(url)
    told = browser.execute_async_script(_FOLLOW)
    assert isinstance(told, list)
    return told


@pytest.mark.parametrize("charset", WORDS)
async def test_the_shop_is_asked_the_same_with_and_without_tracking(
    browser: webdriver.Chrome, site: Pages, charset: str
) -> None:
    hrefs = rows(charset)
    message = html_message(body_of(hrefs, charset, site.port), "base64", charset)
    rules = [(d.url, d.rule) for d in site.plan(message).decisions if d.offset >= 0]
    assert [each for each in rules if each[1]] == []
    parts = [html_parts(message)[0], html_parts(site.rewritten(message))[0]]
    assert parts[1].html.count(b"/c/") == len(hrefs)
    urls = [site.show(f"{n}.html", charset, each.html) for n, each in enumerate(parts)]
    before, after = [await asyncio.to_thread(followed, browser, url) for url in urls]
    assert all(line.startswith("GET /") for line, _, _ in before)
    unlike = [(h, b, a) for h, b, a in zip(hrefs, before, after, strict=True) if b != a]
    assert unlike == []

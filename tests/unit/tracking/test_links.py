"""Which links are tracked, which are left and why: the known bugs of other rewriters."""

import re

import pytest

from tests.harness.tracked import delivered, html_message, page, plan_of, read
from tracking.offline import BASE_URL, unmap

ENCODINGS = ["8bit", "quoted-printable", "base64"]
LINK = "https://h.test/a?x=1"


def targets(content: str, encoding: str = "8bit", **switches: bool) -> list[str | None]:
    """Give where our links lead in the delivered page, None for a link of another."""
    return read(delivered(html_message(page(content), encoding), **switches)).targets


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("tag", "target"),
    [
        ('<a href="https://h.test/?a=1&amp;b=2">', "https://h.test/?a=1&b=2"),
        ('<a href="https://h.test/?a=1&#38;b=2">', "https://h.test/?a=1&b=2"),
        ('<a href="https://h.test/?a=1&#x26;b=2">', "https://h.test/?a=1&b=2"),
        ('<a href="https://h.test/?a=1&copy=2">', "https://h.test/?a=1&copy=2"),
        ('<a href="https&colon;//h.test/">', "https://h.test/"),
        ('<A HREF="https://h.test/">', "https://h.test/"),
        ("<a href = 'https://h.test/'>", "https://h.test/"),
        ("<a href=https://h.test/>", "https://h.test/"),
        ("<a href=https://h.test/x class=y>", "https://h.test/x"),
        ('<a\r\nhref\r\n=\r\n"https://h.test/"\r\n>', "https://h.test/"),
        ('<a href="\r\nhttps://h.test/\r\n">', "https://h.test/"),
        ('<a href="https://h.\r\ntest/a\tb">', "https://h.test/ab"),
        ('<a href="  https://h.test/  ">', "https://h.test/"),
        ('<a/href="https://h.test/"/>', "https://h.test/"),
        ('<a class="k"href="https://h.test/"title="t">', "https://h.test/"),
        ('<a title="a > b" href="https://h.test/">', "https://h.test/"),
        ('<a title=\'<a href="https://no.test/">\' href="https://h.test/">', "https://h.test/"),
        ('<a data-href="https://no.test/" href="https://h.test/">', "https://h.test/"),
        ('<a href="https://h.test/" href="https://no.test/">', "https://h.test/"),
        ('<a =x href="https://h.test/">', "https://h.test/"),
        ('<a href="https://h?x">', "https://h?x"),
        ('<a href="https://h#f">', "https://h#f"),
        ('<a href="https://user:pw@h.test/">', "https://user:pw@h.test/"),
        ('<a href="https://h.test:8443/">', "https://h.test:8443/"),
        ('<a href="https://b\u00fccher.test/\u00fc">', "https://b\u00fccher.test/\u00fc"),
        *(
            (f'<a href="https://h.test/{c}x">', f"https://h.test/{c}x")
            for c in [",", "@", "!", "$", "'", "*", "|", "{", "}"]
        ),
        ('<area shape="rect" href="https://h.test/">', "https://h.test/"),
        ('<a href="https://h.test/?x=1#part">', "https://h.test/?x=1#part"),
    ],
)
def test_links_in_every_shape_are_found(tag: str, target: str, encoding: str) -> None:
    message = html_message(page(f"<p>{tag}x</a></p>"), encoding)
    reading = read(delivered(message))
    assert reading.targets == [target]
    assert reading.pixels == 1


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ('<a href="https://h.test/?id={{ id }}">', "placeholder"),
        ('<a href="https://h.test/%recipient%">', "placeholder"),
        ('<a href="https://h.test/*|ID|*">', "placeholder"),
        ('<a href="mailto:a@b.test">', "scheme"),
        ('<a href="tel:+1">', "scheme"),
        ('<a href="#top">', "fragment"),
        ('<a href="">', "empty"),
        ('<a href="/x">', "relative"),
        ('<a href="//h.test/x">', "protocol-relative"),
        (f'<a clicktracking=off href="{LINK}">', "excluded-by-sendgrid"),
        (f'<a href="{LINK}" clicktracking="off">', "excluded-by-sendgrid"),
        (f'<a ses:no-track href="{LINK}">', "excluded-by-ses"),
        (f'<a href="{LINK}" disable-tracking=true>', "excluded-by-mailgun"),
        (f'<a href="{LINK}" data-pm-no-track>', "excluded-by-postmark"),
        (f'<a href="{LINK}" data-msys-clicktrack="0">', "excluded-by-sparkpost"),
        (f'<a href="{LINK}" data-msys-unsubscribe="1">', "excluded-by-sparkpost"),
        (f'<a href="{LINK}" mc:disable-tracking>', "excluded-by-mandrill"),
        (f'<a href="{LINK}" mautic:disable-tracking="true">', "excluded-by-mautic"),
        (f'<a href="https://h.test/{"x" * 1500}">', "too-long"),
        (f'<a href="{BASE_URL}/x">', "own-host"),
    ],
)
def test_links_left_alone_say_why(content: str, rule: str) -> None:
    message = html_message(page(content + "x</a>"), "quoted-printable")
    plan = plan_of(message)
    assert [each.rule for each in plan.decisions if each.offset >= 0] == [rule]
    assert plan.links == []


@pytest.mark.parametrize(
    "content",
    [
        f'<base href="{LINK}">',
        f'<link href="{LINK}">',
        f'<form action="{LINK}"></form>',
        f'<v:roundrect href="{LINK}"></v:roundrect>',
        f"<style>a {{ background: url({LINK}) }} <a href='{LINK}'></style>",
        f"<script>\"<a href='{LINK}'>\"</script>",
        f"<script><!-- <script> </script> <a href='{LINK}'> --></script>",
        f'<!-- <a href="{LINK}"> -->',
        f'<!doctype x "<a href={LINK}">',
        f'<textarea><a href="{LINK}"></textarea>',
        f'<xmp><a href="{LINK}"></xmp>',
        f'<iframe><a href="{LINK}"></iframe>',
        f'<noembed><a href="{LINK}"></noembed>',
        f'<noframes><a href="{LINK}"></noframes>',
        f"<p title=\"<a href='{LINK}'>\">",
        f"<select><option><a href='{LINK}'>x</a></select>",
        f"<template><a href='{LINK}'>x</a></template>",
        f'<svg><a xlink:href="{LINK}">x</a></svg>',
        f'<b<a href="{LINK}">',
        f'< a href="{LINK}">',
        f'<?php <a href="{LINK}"',
    ],
)
def test_what_is_no_link_stays(content: str) -> None:
    message = html_message(page(content + "<p>end</p>"))
    assert plan_of(message).links == []


@pytest.mark.parametrize(
    "content",
    [
        f"<!--><a href='{LINK}'>x</a>",
        f"<!---><a href='{LINK}'>x</a>",
        f"<!-- a --!><a href='{LINK}'>x</a>",
        f"<!----><a href='{LINK}'>x</a>",
        f"<!--[if !mso]><!--><a href='{LINK}'>x</a><!--<![endif]-->",
        f"<![if !mso]><a href='{LINK}'>x</a><![endif]>",
        f"<script></script><a href='{LINK}'>x</a>",
        f"<script><!-- </script><a href='{LINK}'>x</a>",
        f"<style></style ><a href='{LINK}'>x</a>",
        f"<noscript><a href='{LINK}'>x</a></noscript>",
        f"a < b <a href='{LINK}'>x</a>",
        f"</><a href='{LINK}'>x</a>",
        f"<? x ><a href='{LINK}'>x</a>",
        f"<svg><title><a href='{LINK}'>x</a></title></svg>",
        f"<table><a href='{LINK}'>x</a><tr><td></td></tr></table>",
    ],
)
def test_links_right_behind_odd_markup_are_found(content: str) -> None:
    assert targets(content) == [LINK]


def test_links_in_outlook_comments_are_a_switch() -> None:
    content = (
        f'<!--[if mso]><v:roundrect href="{LINK}&amp;v"><a href="{LINK}">x</a></v:roundrect>'
        "<![endif]-->"
        f'<!--[if (gte mso 9)|(IE)]><area href="{LINK}"><link href="{LINK}"><![endif]-->'
    )
    message = html_message(page(content))
    assert plan_of(message, outlook=False).links == []
    assert plan_of(message).links == [LINK.encode() + b"&v", LINK.encode(), LINK.encode()]
    out = delivered(message)
    found = re.findall(rb'href="([^"]+)"', out)
    assert [unmap(url.decode()) for url in found] == [LINK + "&v", LINK, LINK, None]


def test_the_same_url_twice_is_two_links() -> None:
    plan = plan_of(html_message(page(f'<a href="{LINK}">x</a><a href="{LINK}">y</a>')))
    assert plan.links == [LINK.encode()] * 2


def test_a_link_whose_text_is_its_url_keeps_the_text() -> None:
    out = delivered(html_message(page(f'<a href="{LINK}">{LINK}</a>')))
    assert f">{LINK}</a>".encode() in out


@pytest.mark.parametrize("quote", ['"', "'", ""])
def test_the_authors_quotes_stay(quote: str) -> None:
    out = delivered(html_message(page(f"<a href={quote}{LINK}{quote}>x</a>")), opens=False)
    assert re.search(rf"<a href={quote}{BASE_URL}/c/[\w-]+{quote}>x".encode(), out)

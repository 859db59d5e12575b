"""The known bugs of other rewriters, and the rules taken from them, each as a message."""

import re

import pytest

from tests.harness.tracked import HEAD, delivered, html_message, page, plan_of, read
from tracking.offline import BASE_URL, is_pixel, rewrite, unmap
from tracking.plan import Budget, Switches, compile_plan

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


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("marked", "plain"),
    [
        (f'<a clicktracking=off href="{LINK}">', f'<a href="{LINK}">'),
        (f'<a href="{LINK}" clicktracking="off" class="c">', f'<a href="{LINK}" class="c">'),
        (f'<a href="{LINK}"\r\n data-pm-no-track>', f'<a href="{LINK}">'),
        (f'<a href="{LINK}" data-msys-clicktrack="0">', f'<a href="{LINK}">'),
        # nothing around the mark may grow together
        (f'<a clicktracking="off"href="{LINK}">', f'<a href="{LINK}">'),
        (f'<a/clicktracking="off"href="{LINK}">', f'<a/href="{LINK}">'),
        (f"<a href={LINK} clicktracking='off'/>", f"<a href={LINK} />"),
        (f"<a href={LINK} clicktracking='off' />", f"<a href={LINK} />"),
        (f"<a href={LINK} clicktracking=off>", f"<a href={LINK}>"),
    ],
)
def test_exclusion_marks_are_taken_out(marked: str, plain: str, encoding: str) -> None:
    out = delivered(html_message(page(marked + "x</a>"), encoding), opens=False)
    assert read(out).html == [page(plain + "x</a>").encode()]


def test_a_mark_that_asks_for_tracking_is_taken_out_too() -> None:
    assert targets(f'<a href="{LINK}" clicktracking="on">x</a>') == [LINK]
    out = delivered(html_message(page(f'<a href="{LINK}" clicktracking="on">x</a>')))
    assert b"clicktracking" not in out
    assert targets(f'<a href={LINK} clicktracking="on"/>x</a>') == [LINK]


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


# ------------------------------------------------------------------------------ the pixel

PLACES = [
    ("<html><body><p>x</p>", "</body></html>"),
    ("<HTML><BODY><p>x</p>", "</BODY></HTML>"),
    ("<p>x</p>", ""),
    ("<p>x</p>", "\r\n"),
    ("<html><body>x</body>y", "</body></html>"),
    ("<html><body>x", "</body></body></html>"),
    ("<body>x<!-- </body> -->", "</body>"),
    ('<body><p title="</body>">x</p>', "</body>"),
    ("<body><script>'</body>'</script>x", "</body>"),
    ("<body><style></body></style>x", "</body>"),
    ("<html><body>x", "</html>"),
    ("<body><table><tr><td>x", "</td></tr></body>"),
    ("<body><table><tr><td>x</td></tr></table>", "</body>"),
    ("<body><table><tr><td>x</td></tr><tr><td>y", "</td></tr>"),
    ("<body>x", "<style>unclosed"),
    ("<body>x", "<!-- unclosed"),
    ("<body>x", '<a href="unclosed'),
    ("<body>x", "<plaintext>y</body>"),
    ("<body>x", "<select><option>y</body>"),
    ("<body>x", '<div style="display:none">y</body>'),
    ("<body>x", "<svg><g></body>"),
    ("<body>x", "<object>y</body>"),
    ("x", ""),
]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(("before", "after"), PLACES)
def test_the_pixel_stands_where_it_renders(before: str, after: str, encoding: str) -> None:
    out = delivered(html_message(before + after, encoding), clicks=False)
    (body,) = read(out).html
    found = re.search(rb"<img [^>]*>", body)
    assert found
    assert (body[: found.start()], body[found.end() :]) == (before.encode(), after.encode())


def test_a_page_of_frames_has_no_pixel() -> None:
    message = html_message(
        f'<html><frameset><frame src="x"></frameset><a href="{LINK}">x</a></html>'
    )
    assert delivered(message) == message


def test_the_pixel_is_in_the_first_html_part_alone() -> None:
    part = b"Content-Type: text/html\r\n\r\n<p>x</p>"
    message = (
        HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + part + b"\r\n--b\r\n"
        + part + b"\r\n--b--\r\n"
    )  # fmt: skip
    reading = read(delivered(message))
    assert [body.count(b"<img") for body in reading.html] == [1, 0]
    assert reading.pixels == 1


# --------------------------------------------------------------------- what is never touched


def multipart(subtype: str, *parts: bytes, extra: str = "") -> bytes:
    text = f'Content-Type: multipart/{subtype}; boundary="b"{extra}\r\n\r\n'.encode()
    return HEAD + text + b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


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


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_tracked_message_is_not_tracked_twice(encoding: str) -> None:
    once = delivered(html_message(page(f'<a href="{LINK}">x</a>'), encoding))
    assert plan_of(once).skipped == "already-tracked"
    assert delivered(once) == once
    only_pixel = delivered(html_message(page("x"), encoding))
    assert delivered(only_pixel) == only_pixel


def test_anothers_tracked_links_are_links() -> None:
    url = "https://t.waypost.test.evil.test/c/aHR0cDovL3g"
    assert targets(f'<a href="{url}">x</a>') == [url]


# ---------------------------------------------------------------------------- the switches


def test_with_both_switches_off_nothing_happens() -> None:
    message = html_message(page(f'<a href="{LINK}">x</a>'))
    assert (
        compile_plan(message, Switches(False, False), base_url=BASE_URL).skipped == "switched-off"
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_switches_at_departure_only_take_back(encoding: str) -> None:
    message = html_message(page(f'<a href="{LINK}">x</a>'), encoding)
    assert delivered(message, opens=False, clicks=False) == message
    opened = read(delivered(message, clicks=False))
    assert (opened.hrefs, opened.pixels) == ([LINK], 1)
    clicked = read(delivered(message, opens=False))
    assert (clicked.targets, clicked.pixels) == ([LINK], 0)


def test_a_plan_without_pixel_never_gains_one() -> None:
    message = html_message(page(f'<a href="{LINK}">x</a>'))
    plan = compile_plan(message, Switches(False, True), base_url=BASE_URL)
    assert not plan.has_pixel


@pytest.mark.parametrize(
    "base", ["", "t.test", "https://t.test/", "https://", "https://\u00fc.test"]
)
def test_a_base_url_needs_scheme_and_host(base: str) -> None:
    with pytest.raises(ValueError, match="expected scheme and host"):
        compile_plan(b"", Switches(True, True), base_url=base)


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        (Budget(links=2), "too-many-links"),
        (Budget(html=100), "too-large"),
        (Budget(parts=1), "too-many-parts"),
        (Budget(depth=0), "too-deep"),
    ],
)
def test_over_budget_means_untouched(budget: Budget, reason: str) -> None:
    html = (
        b"Content-Type: text/html\r\n\r\n" + b"<a href='https://h.test/'>x</a>\r\n" * 3 + b" " * 100
    )
    message = multipart("mixed", html)
    plan = compile_plan(message, Switches(True, True), base_url=BASE_URL, budget=budget)
    assert plan.skipped == reason


def test_pixels_and_links_of_others_are_not_ours() -> None:
    assert not is_pixel("https://t.waypost.test/o/abc.gif")
    assert unmap("https://t.waypost.test/c/abc") is None
    assert unmap("https://h.test/") is None

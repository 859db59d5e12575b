"""No input costs more than its size: the worst ones, small and large.

Counted in steps of the interpreter, which no busy machine moves; what C code does inside one step
is not seen by them, so the same inputs are read at 384 KB as well: quadratic work would be
a hundred billion characters there, and the time limit of every test would end it. Times against
sizes are measured by `python -m bench.stage_tracking --growth` (docs/tracking.md).
"""

from collections.abc import Callable

import pytest

from bench.steps import steps
from relay.mail import header, mime, transfer
from tests.harness.tracked import html_message
from tracking import placement
from tracking.machines import Hit, classify
from tracking.offline import BASE_URL
from tracking.plan import Plan, Switches, compile_plan
from tracking.scan import scan
from tracking.text import text_links
from tracking.urls import judge

HTML = {
    "open tags": b"<a ",
    "open tags with values": b'<a href="x',
    "tags": b"<b>",
    "anchors": b"<a href=x>",
    "comments": b"<!--",
    "closed comments": b"<!---->",
    "comment dashes": b"-->",
    "bogus comments": b"<!",
    "end tag openings": b"</",
    "conditional comments": b"<!--[if mso]><a <![endif]-->",
    "conditional openings": b"<!--[if ",
    "quotes": b'"',
    "equals": b"=",
    "equals and quotes": b'="',
    "attributes": b" a=b",
    "a tag of slashes": b"/",
    "less than": b"<",
    "scripts": b"<script><!--<script>",
    "styles": b"<style></styl",
    "titles": b"<title></title>",
    "divs": b"<div>",
    "spans": b"<span>",
    "tables": b"<table><tr><td>",
    "bare cells": b"<table><td>",
    "forms": b"<form></form>",
    "open forms": b"<div><form>",
    "lists": b"<li><ul>",
    "paragraphs": b"<p><div>",
    "svg": b"<svg><g>",
    "svg ends": b"<svg></g>",
    "selects": b"<select><option>",
    "templates": b"<template><a href=x>",
    "body ends": b"</body>x",
    "objects": b"<object></body>",
    "references": b"<a href='https://h/&amp;&#38;&'>",
    "merge tags": b"<a href='https://h/{{*|%a%'>",
    "escapes": b"\x1b$B",
    "cdata": b"<svg><![CDATA[",
}
OPENINGS = [b"", b'<a href="', b"<p title=", b"<!--", b"<script>", b"<svg>"]
SOME = [b"", b"<svg>", *(pytest.param(each, marks=pytest.mark.long) for each in OPENINGS[1:-1])]


def plan_of(html: bytes) -> Plan:
    lines = b"\r\n".join(html[at : at + 900] for at in range(0, len(html), 900))
    message = html_message(lines, "8bit")
    return compile_plan(message, Switches(True, True), base_url=BASE_URL)


LARGE = 384 * 1024


def grows_linearly(
    work: Callable[[bytes], object], make: Callable[[int], bytes], size: int
) -> None:
    """Compare the steps for an input with those for one eight times the size.

    Quadratic work takes 64 times as many.
    """
    small, large = make(size), make(8 * size)
    once, eight = steps(lambda: work(small)), steps(lambda: work(large))
    assert eight <= 10 * once + 500, f"{len(small)} to {len(large)} bytes"


def test_what_is_quadratic_is_seen() -> None:
    def work(data: bytes) -> object:
        return [data.count(b"<", 0, at) for at in range(len(data)) for _ in range(at // 8)]

    with pytest.raises(AssertionError, match="64 to 512 bytes"):
        grows_linearly(work, lambda size: b"<" * size, 64)


@pytest.mark.parametrize("opening", SOME, ids=repr)
@pytest.mark.parametrize("unit", HTML.values(), ids=HTML)
def test_html(unit: bytes, opening: bytes) -> None:
    grows_linearly(plan_of, lambda size: opening + unit * (size // len(unit)), 300)


@pytest.mark.parametrize("opening", [b"", pytest.param(OPENINGS, marks=pytest.mark.long)])
@pytest.mark.parametrize("unit", HTML.values(), ids=HTML)
def test_large_html_comes_to_an_end(unit: bytes, opening: bytes | list[bytes]) -> None:
    for each in [opening] if isinstance(opening, bytes) else opening:
        data = each + unit * (LARGE // len(unit))
        plan_of(data)
        placement.read(data, 0, len(data), outlook=True)


@pytest.mark.parametrize("unit", HTML.values(), ids=HTML)
def test_the_exact_reading(unit: bytes) -> None:
    def work(data: bytes) -> object:
        return placement.read(data, 0, len(data), outlook=True)

    grows_linearly(work, lambda size: unit * (size // len(unit)), 300)


@pytest.mark.parametrize("unit", [b"a:", b"a: b\r\n", b"a:\r\n ", b" \r\n", b"a: \r\r\r"])
def test_headers(unit: bytes) -> None:
    grows_linearly(header.split, lambda size: unit * size, 200)
    header.split(unit * (LARGE // len(unit)))


@pytest.mark.parametrize(
    "value",
    [
        b";",
        b'"',
        b"(",
        b"\\",
        b";a=",
        b';a="',
        b"; x*0=a",
        b"(()",
        b"=?a?q?",
        b"=?utf-8?q?a?= ",
        b"\r\n ",
    ],
)
def test_header_values(value: bytes) -> None:
    grows_linearly(header.parameters, lambda size: b"a/b;x=" + value * size, 200)
    grows_linearly(header.display, lambda size: value * size, 200)
    header.parameters(b"a/b;x=" + value * (LARGE // len(value)))
    header.display(value * (LARGE // len(value)))


@pytest.mark.parametrize("line", [b"--b", b"--b--", b"--b--x", b"--", b"-", b"--a:b", b""])
@pytest.mark.parametrize("boundary", [b"b", b"a:b"])
def test_mime(line: bytes, boundary: bytes) -> None:
    def make(size: int) -> bytes:
        opening = b"Content-Type: multipart/mixed; boundary=" + boundary + b"\r\n\r\n"
        return opening + (line + b"\r\n") * size

    grows_linearly(mime.walk, make, 100)
    mime.walk(make(LARGE // 8))


@pytest.mark.parametrize("encoding", ["quoted-printable", "base64"])
@pytest.mark.parametrize("raw", [b"=", b"=3D", b"=\r\n", b"= ", b"= \r\n", b"a", b"=\r", b"A="])
def test_transfer_encodings(raw: bytes, encoding: str) -> None:
    def work(data: bytes) -> object:
        return transfer.decode(data, encoding)

    grows_linearly(work, lambda size: raw * size, 500)
    work(raw * (LARGE // len(raw)))


@pytest.mark.parametrize("text", ["{{", "*|", "%a", "%%a", "(", "[[", "a)", "]", "\t", "\u00e9"])
def test_urls_and_texts(text: str) -> None:
    def work(data: bytes) -> object:
        return judge(data.decode(), (), ())

    def make(size: int) -> bytes:
        return b"https://h/" + text.encode() * size

    grows_linearly(text_links, make, 500)
    grows_linearly(work, make, 500)
    text_links(make(LARGE // 2))
    work(make(LARGE // 2))


@pytest.mark.parametrize(
    "html",
    [
        b"<a " * 20_000,
        b"<!--" * 20_000,
        b'<a href="' * 10_000,
        b'<p title="' + b"x" * 1_900_000,
        b"<a href=https://h.test/>" * 60_000,
        pytest.param(b"<div>" * 100_000, marks=pytest.mark.long),
        pytest.param(b"<svg><g>" * 100_000, marks=pytest.mark.long),
    ],
    ids=["tags", "comments", "quotes", "attribute", "links", "divs", "svg"],
)
def test_bad_inputs_stay_within_the_budget(html: bytes) -> None:
    """A bound on what one part can cost, whatever is in it: the exact reading of 20,000 tags."""
    assert steps(lambda: plan_of(html)) < 12_000_000


def test_a_flood_of_hits_costs_a_bounded_amount() -> None:
    def flood(size: int) -> list[Hit]:
        return [Hit(at=n, kind="click", delivery=1, link=n % 2) for n in range(size)]

    few, many = flood(1000), flood(20_000)
    assert steps(lambda: classify(many[0], many)) == steps(lambda: classify(few[0], few))


def test_too_many_anchors_end_the_scan() -> None:
    data = b"<a href=x>" * 100_000
    assert scan(data, 0, len(data), outlook=True, max_anchors=100).over_budget

"""Mails that are hard to read or meant to hurt, each with what must become of it.

The ids are those of the catalogue (`tests/data/bad_inputs/catalogue.toml`, group M). Every mail is
complete and comes from `news@news.test`, whose links and opens are tracked.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass

SAME = "same"
"""Delivered with the very same octets behind our header fields."""
TAKEN = "taken"
"""Delivered; whether it is tracked is left to the rules for such mail."""

_FROM = b"From: Shop <news@news.test>\r\nTo: <ann@inbox.test>\r\n"
_DATED = b"Date: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <m@news.test>\r\nSubject: x\r\n"
HEAD = _FROM + _DATED + b"MIME-Version: 1.0\r\n"
HTML = b"Content-Type: text/html\r\n"
LINK = b'<a href="https://www.shop.test/a">a</a>\r\n'
_BOMB = base64.b64encode(b"\x1f\x8b\x08" + bytes(50_000))


@dataclass(frozen=True, slots=True)
class BadMail:
    """One row: `expected` is SAME, TAKEN, `links=N`, or how the refusal begins."""

    id: str
    content: bytes
    expected: str


def _page(html: bytes, more: bytes = b"") -> bytes:
    return HEAD + HTML + more + b"\r\n" + html


def _multipart(body: bytes, kind: bytes = b"mixed", boundary: bytes = b'boundary="b"') -> bytes:
    return HEAD + b"Content-Type: multipart/" + kind + b"; " + boundary + b"\r\n\r\n" + body


def _part(html: bytes = LINK, head: bytes = HTML, boundary: bytes = b"b") -> bytes:
    return b"--" + boundary + b"\r\n" + head + b"\r\n" + html


def _lines(octets: bytes, width: int = 900) -> bytes:
    return b"\r\n".join(octets[at : at + width] for at in range(0, len(octets), width)) + b"\r\n"


def _nested(depth: int) -> bytes:
    opened = b"".join(
        b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (n, n)
        for n in range(depth)
    )
    closed = b"".join(b"--%d--\r\n" % n for n in reversed(range(depth)))
    return HEAD + opened + HTML + b"\r\n" + LINK + closed


def _fields() -> Iterator[tuple[str, bytes, str]]:
    """M01 to M07: the header."""
    end = b"\r\n" + LINK
    yield "M01-from", HEAD + b"From: <b@news.test>\r\n" + HTML + end, "550 5.6.0"
    yield "M01-from-in-capitals", HEAD + b"FROM: <b@news.test>\r\n" + HTML + end, "550 5.6.0"
    yield "M01-type", HEAD + HTML + b"Content-Type: text/plain\r\n" + end, SAME
    coded = b"Content-Transfer-Encoding: "
    twice = coded + b"7bit\r\n" + coded + b"base64\r\n"
    yield "M01-encoding", HEAD + HTML + twice + end, SAME
    yield "M01-version", HEAD + b"MIME-Version: 1.0\r\n" + HTML + end, TAKEN
    yield "M02-no-colon", HEAD + b"no field at all\r\n" + HTML + end, SAME
    yield "M02-space-before-colon", HEAD + b"X-A : b\r\n" + HTML + end, TAKEN
    yield "M02-type-with-space", HEAD + b"Content-Type : text/html\r\n" + end, SAME
    yield "M02-only-spaces", HEAD + b"X-A: b\r\n   \r\n" + HTML + end, TAKEN
    yield "M02-first-line-folded", b" x\r\n" + HEAD + HTML + end, "550 5.6.0"
    yield "M02-no-empty-line", HEAD + HTML, SAME
    yield "M02-no-header", b"\r\n" + LINK, "550 5.6.0"
    subjects = {
        "escapes": b"\x1b]0;x\x07\x1b[2J",
        "markup": b"<script>alert(1)</script>",
        "long": _lines(b"x " * 5000, 500).replace(b"\r\n", b"\r\n ").rstrip(),
        "eight-bit": b"\xff\xfe\x80",
        "surrogate": b"\xed\xa0\x80",
        "encoded-line-end": b"=?utf-8?q?a=0D=0ABcc:_x@y.test?=",
        "unknown-charset": b"=?rot13?q?a?= =?x\x01y?b?====?= =?undefined?q?=ff?=",
    }
    for name, subject in subjects.items():
        yield f"M04-{name}", _FROM + b"Subject: " + subject + b"\r\n" + HTML + end, "links=1"
    yield "M04-nul", _FROM + b"Subject: a\0b\r\n" + HTML + end, "550 5.6.0"
    yield "M07-100", b"Received: x\r\n" * 100 + HEAD + HTML + end, "links=1"
    yield "M07-101", b"Received: x\r\n" * 101 + HEAD + HTML + end, "554 5.4.6"
    yield "M07-folded", b"received:\r\n x\r\n" * 101 + HEAD + HTML + end, "554 5.4.6"
    yield "M22", HEAD + HTML[:-2] + b";\r\n charset=utf-8" + _continued(2000) + end, TAKEN
    yield (
        "M23-many",
        HEAD + b"Cc: " + b"a@b.test,\r\n " * 2000 + b"c@d.test\r\n" + HTML + end,
        TAKEN,
    )
    yield "M23-nested", HEAD + b"Cc: " + b"(" * 500 + b")" * 500 + b"\r\n" + HTML + end, "500 5.5.2"
    yield "M23-group", HEAD + b"Cc: g: a@b.test, g:;;\r\n" + HTML + end, "links=1"
    off = b"X-Waypost-Track: off\r\n"
    yield "M26-twice", HEAD + off + off.replace(b"off", b"on") + HTML + end, "links=0"
    yield "M26-folded", HEAD + off[:-2] + b"\r\n on\r\n" + HTML + end, "links=0"
    yield "M26-turned", HEAD + off.replace(b"off", b"on") + off + HTML + end, "links=0"


def _continued(number: int) -> bytes:
    return b"".join(b";\r\n name*%d*=a" % n for n in range(number)) + b"\r\n"


def _structures() -> Iterator[tuple[str, bytes, str]]:
    """M08 to M11, M19, M20, M25: parts."""
    for depth in (1, 63, 64, 65, 1600, 40_000):
        yield f"M08-{depth}", _nested(depth), SAME if depth > 64 else "links=1"
    one = _part() + b"--b--\r\n"
    yield "M10-empty", _multipart(b"--\r\n" + HTML + b"\r\n" + LINK, boundary=b'boundary=""'), SAME
    for size in (70, 71, 2000, 100_000):
        name = b"B" * size
        boundary = b'boundary="' + b"\r\n ".join([name]) + b'"'
        expected = "500 5.5.2" if size > 900 else TAKEN
        yield f"M10-{size}", _multipart(_part(boundary=name), boundary=boundary), expected
    yield "M10-quotes", _multipart(_part(boundary=b'a"b'), boundary=b'boundary="a\\"b"'), TAKEN
    yield "M10-space-at-end", _multipart(one, boundary=b'boundary="b "'), TAKEN
    longer = b'Content-Type: multipart/mixed; boundary="bb"\r\n'
    inner = _part(boundary=b"bb") + b"--bb--\r\n"
    yield "M10-prefix", _multipart(_part(inner, longer) + b"--b--\r\n"), "links=1"
    again = b'Content-Type: multipart/mixed; boundary="b"\r\n'
    yield "M10-twice", _multipart(_part(_part(), again) + b"--b--\r\n"), TAKEN
    yield "M10-after-the-end", _multipart(one + _part()), TAKEN
    yield "M10-not-closed", _multipart(_part()), SAME
    yield "M10-in-preamble", _multipart(b"x --b\r\n" + one), "links=1"
    yield "M10-in-pieces", _multipart(one, boundary=b'boundary*0="b"'), TAKEN
    yield "M10-two", _multipart(one, boundary=b'boundary="b"; boundary="c"'), SAME
    yield "M10-none", _multipart(one, boundary=b"charset=utf-8"), SAME
    yield "M11-padding", _multipart(_part().replace(b"--b\r", b"--b \t\r") + b"--b--\r\n"), TAKEN
    yield "M11-more", _multipart(_part().replace(b"--b\r", b"--bx\r") + b"--b--\r\n"), SAME
    signed = b'signed; protocol="application/pgp-signature"'
    yield "M19-signed", _multipart(one, signed), SAME
    yield "M19-encrypted", _multipart(one, b'encrypted; protocol="application/pgp"'), SAME
    yield "M19-smime", HEAD + b"Content-Type: application/pkcs7-mime\r\n\r\n" + LINK, SAME
    yield "M19-pgp-inline", _page(b"-----BEGIN PGP SIGNED MESSAGE-----\r\n" + LINK), SAME
    dkim = b"DKIM-Signature: v=1; a=rsa-sha256; d=news.test; s=x; h=from; bh=x; b=x\r\n"
    yield "M19-dkim", dkim + _page(LINK), SAME
    attached = HTML + b"Content-Disposition: attachment; filename=x.html\r\n"
    yield "M20-attached", _multipart(_part() + _part(head=attached) + b"--b--\r\n"), "links=1"
    yield "M20-only-attached", _multipart(_part(head=attached) + b"--b--\r\n"), SAME
    yield "M20-two", _multipart(_part() + _part() + b"--b--\r\n"), "links=2"
    amp = b"Content-Type: text/x-amp-html\r\n"
    yield "M20-amp", _multipart(_part(head=amp) + one, b"alternative"), "links=1"
    packed = b"Content-Type: application/gzip\r\nContent-Transfer-Encoding: base64\r\n"
    bomb = _part(_lines(_BOMB, 76), packed)
    yield "M25-gzip", _multipart(_part() + bomb + b"--b--\r\n"), "links=1"
    large = _lines(b"A" * 3_000_000, 76)
    yield "M25-large", _multipart(_part() + _part(large, packed) + b"--b--\r\n"), "links=1"
    many = b"".join(_part(b"x\r\n", b"Content-Type: text/plain\r\n") for _ in range(1100))
    yield "M08-many-parts", _multipart(many + one), SAME


_QP = b"Content-Transfer-Encoding: quoted-printable\r\n"
_B64 = b"Content-Transfer-Encoding: base64\r\n"


def _encodings() -> Iterator[tuple[str, bytes, str]]:
    """M13, M14."""
    url = b'<a href=3D"https://www.shop.test/a?x=3D1&amp;y=3D2">a</a>\r\n'
    quoted = {
        "in-url": (url.replace(b"shop", b"sh=\r\nop"), "links=1"),
        "in-escape": (url.replace(b"=3D1", b"=\r\n=3D1"), "links=1"),
        "over-three-lines": (url.replace(b"www", b"w=\r\nw=\r\nw"), "links=1"),
        "at-76": (b"x" * 75 + b"=\r\n" + url, "links=1"),
        "at-the-end": (url[:-2] + b"=\r\n", TAKEN),
        "space-behind": (url.replace(b"shop", b"sh= \r\nop"), TAKEN),
        "one-digit": (url + b"=4\r\n", SAME),
        "no-digits": (url + b"=GG\r\n", SAME),
        "within-escape": (url.replace(b"=3D1", b"=3=\r\nD1"), SAME),
        "small-letters": (url.replace(b"=3D", b"=3d"), "links=1"),
    }
    for name, (body, expected) in quoted.items():
        yield f"M13-{name}", _page(body, _QP), expected
    yield "M13-one-long-line", _page(b"x" * 1_000_000 + b"\r\n" + url, _QP), "500 5.5.2"
    coded = base64.b64encode(b"<p>" * 40 + LINK)
    packed = {
        "plain": (_lines(coded, 76), "links=1"),
        "across-lines": (_lines(coded, 20), "links=1"),
        "no-padding": (_lines(base64.b64encode(LINK + b"xy").rstrip(b"="), 76), SAME),
        "padding-inside": (coded[:40] + b"==" + coded[40:] + b"\r\n", SAME),
        "white-space": (coded[:41] + b" \t\r\n" + coded[41:] + b"\r\n", "links=1"),
        "foreign-octets": (coded[:40] + b"*\x80" + coded[40:] + b"\r\n", SAME),
    }
    for name, (body, expected) in packed.items():
        yield f"M14-{name}", _page(body, _B64), expected
    yield "M14-one-long-line", _page(base64.b64encode(bytes(800_000)) + b"\r\n", _B64), "500 5.5.2"


def _pages() -> Iterator[tuple[str, bytes, str]]:
    """M16, M17: markup and URLs."""
    bombs = {
        "tags": b"<a " * 20_000,
        "comments": b"<!--" * 20_000,
        "quotes": b'<a href="' * 10_000,
        "attribute": b'<p title="' + b"x" * 1_000_000,
        "divs": b"<div>" * 100_000,
        "anchors": b"<a href=https://h.test/>" * 20_000,
    }
    for name, html in bombs.items():
        yield f"M16-{name}", _page(_lines(html)), TAKEN
    shapes = {
        "no-quotes": (b"<a href=https://h.test/x>a</a>", 1),
        "single-quotes": (b"<a href='https://h.test/x'>a</a>", 1),
        "capitals": (b'<A HREF = "https://h.test/x">a</A>', 1),
        "twice": (b'<a href="https://h.test/x" href="https://h.test/y">a</a>', 1),
        "references": (b'<a href="https://h.test/?a=1&amp;b=2&#x26;c">a</a>', 1),
        "script": (b'<script>"<a href=https://h.test/x>"</script>', 0),
        "style": (b"<style><a href=https://h.test/x></style>", 0),
        "textarea": (b"<textarea><a href=https://h.test/x></textarea>", 0),
        "title": (b"<title><a href=https://h.test/x></title>", 0),
        "comment": (b"<!-- <a href=https://h.test/x> -->", 0),
        "plaintext": (b"<plaintext><a href=https://h.test/x>", 0),
        "image-map": (b"<map><area href='https://h.test/x'></map>", 1),
    }
    for name, (html, links) in shapes.items():
        yield f"M16-{name}", _page(html + b"\r\n"), f"links={links}"
    left = (
        b"mailto:a@b.test",
        b"tel:1",
        b"sms:1",
        b"javascript:alert(1)",
        b"data:text/html,x",
        b"cid:x",
        b"#x",
        b"//h.test/x",
        b"{{merge}}",
        b"%7B%7Bx%7D%7D",
        b"https://h.test/{{x}}",
        b"ftp://h.test/x",
        b"java&#x0a;script:alert(1)",
        b"",
    )
    for number, url in enumerate(left):
        yield f"M17-left-{number}", _page(b'<a href="' + url + b'">a</a>\r\n'), "links=0"
    # Decided otherwise than for the others: docs/decisions/tracking-rewriting.md.
    yield "M17-user", _page(b'<a href="https://user:pw@h.test/">a</a>\r\n'), "links=1"
    yield "M17-capitals", _page(b'<a href="HTTPS://H.test/x">a</a>\r\n'), "links=1"


def bad_mails() -> list[BadMail]:
    """Give every row."""
    groups = (_fields, _structures, _encodings, _pages)
    return [BadMail(*row) for group in groups for row in group()]

"""Lines and transfer encodings after splicing: limits hold, untouched bytes are the same."""

import email
import html
import quopri
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.mail.keyring import KeyRing
from relay.mail.transfer import decode
from tests.harness.tracked import HEAD, delivered, html_message, page, plan_of, read
from tracking.offline import BASE_URL, unmap
from tracking.plan import Switches, compile_plan
from tracking.render import HostMismatchError, render
from tracking.tokens import Identity, Mint

LINK = "https://h.test/a?x=1"
FIELDS = HEAD + b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: "
QP = FIELDS + b"quoted-printable\r\n\r\n"


def body(message: bytes) -> bytes:
    return message.partition(b"\r\n\r\n")[2]


def restored(raw: bytes, source: bytes) -> bytes:
    """Take pixel and tokens back out of a decoded part (a full line puts CRLF before the pixel)."""
    text = re.sub(
        rb"https://t\.waypost\.test/c/[\w-]+",
        lambda found: html.escape(unmap(found[0].decode()) or "?").encode(),
        raw,
    )
    without = re.sub(rb'<img src="https://t\.waypost\.test/o/[^>]*>', b"", text)
    if without == source:
        return without
    return re.sub(rb'\r\n<img src="https://t\.waypost\.test/o/[^>]*>', b"", text)


# --------------------------------------------------------------- quoted-printable (M13)

SOFT = [
    b'<a href=3D"https://h.test/=\r\na?x=3D1">x</a>\r\n',
    b'<a href=\r\n=3D"https://h.test/a?x=3D1">x</a>\r\n'.replace(b"href\r\n", b"href=\r\n"),
    b'<a hre=\r\nf=3D"ht=\r\ntps://h.test/a?x=3D=\r\n1">x</a>\r\n',
    b'<a href=3D"=\r\nhttps://h.test/a?x=3D1=\r\n">x</a>\r\n',
    b'<a href=3d"https://h.test/a?x=3d1">x</a>\r\n',
    b"=3Ca=20href=3D=22https://h.test/a=3Fx=3D1=22=3Ex=3C/a=3E\r\n",
    b"x" * 64 + b'<a href=3D"=\r\nhttps://h.test/a?x=3D1">x</a>\r\n',
    b'<a href=3D"https://h.test/a?x=3D1">x</a>=',
    b'<a href=3D"https://h.test/a?x=3D1">x</a>=\r\n',
    b'<a href=3D"https://h.test/a?x=3D1">' + b"x" * 37 + b"</a>\r\n",
]


@pytest.mark.parametrize("raw", SOFT)
@pytest.mark.parametrize(("opens", "clicks"), [(True, True), (False, True), (True, False)])
def test_links_cut_by_soft_breaks_are_found(raw: bytes, *, opens: bool, clicks: bool) -> None:
    message = QP + raw
    out = delivered(message, opens=opens, clicks=clicks)
    reading = read(out)
    assert (reading.targets if clicks else reading.hrefs) == [LINK]
    assert reading.pixels == opens
    assert all(len(line) <= 76 for line in body(out).split(b"\r\n"))
    assert decode(body(out), "quoted-printable").defects == ()
    source = decode(raw, "quoted-printable").data
    assert restored(reading.html[0], source) == source


@pytest.mark.parametrize("raw", [b"a= \r\n", b"=4", b"=GG", b"a=\nb", b"a==b"])
def test_malformed_quoted_printable_is_left(raw: bytes) -> None:
    message = QP + b'<a href=3D"https://h.test/">x</a>\r\n' + raw + b"<p>end\r\n"
    assert plan_of(message).skipped == "qp-malformed"
    assert delivered(message) == message


def test_one_line_of_a_megabyte_is_left() -> None:
    message = QP + b'<a href=3D"https://h.test/a?x=3D1">' + b"x" * 1_000_000 + b"</a>"
    assert plan_of(message).skipped == "line-limit"
    assert delivered(message) == message


def test_lines_over_76_are_read() -> None:
    message = QP + b'<a href=3D"https://h.test/a?x=3D1">' + b"x" * 900 + b"</a>"
    assert read(delivered(message)).targets == [LINK]


def test_lines_without_links_stay_byte_for_byte() -> None:
    lines = [b"<p>line %d =C3=A4=\r\n..</p>" % number for number in range(50)]
    lines[20] = b'<a href=3D"https://h.test/a?x=3D1">x</a>'
    message = QP + b"\r\n".join(lines)
    out = delivered(message, opens=False)
    assert out.startswith(QP + b"\r\n".join(lines[:20]))
    assert out.endswith(b"\r\n".join(lines[21:]))


tags = st.sampled_from(
    ["<p>", "</p>", " ", "text ", "\u00e4", "=", "x" * 30, "\r\n", "<br>", '<b class="k">', "</b>"]
)
links = st.integers(0, 80).map(lambda n: f'<a href="https://h.test/{"p" * n}?x=1&amp;y=2">l</a>')
content = st.lists(st.one_of(tags, links), max_size=25).map("".join)
modes = st.sampled_from([(True, True), (True, False), (False, True)])


@settings(max_examples=300)
@given(content, modes, st.sampled_from(["quoted-printable", "8bit", "base64"]), st.data())
def test_whatever_the_page_only_links_and_pixel_change(
    text: str, mode: tuple[bool, bool], encoding: str, data: st.DataObject
) -> None:
    opens, clicks = mode
    source = page(text).encode()
    message = html_message(source, encoding)
    if encoding == "quoted-printable":  # break lines wherever an encoder may
        raw = body(message)
        for _ in range(data.draw(st.integers(0, 3))):
            at = data.draw(st.integers(0, len(raw)))
            line = raw.rfind(b"\n", 0, at) + 1
            if (
                at - line < 76
                and b"=" not in raw[max(line, at - 2) : at]
                and raw[at : at + 1] != b"\n"
            ):
                raw = raw[:at] + b"=\r\n" + raw[at:]
        message = QP + raw
    out = delivered(message, opens=opens, clicks=clicks)
    if any(len(line) > 998 for line in body(message).split(b"\r\n")):
        assert out == message
        return
    before, after = read(message), read(out)
    wanted = [href for href in before.hrefs if href]
    assert (after.targets if clicks else after.hrefs) == wanted
    assert after.pixels == opens
    assert restored(after.html[0], before.html[0]) == before.html[0]
    limit = 76 if encoding in ("quoted-printable", "base64") else 998
    assert all(len(line) <= limit for line in body(out).split(b"\r\n"))
    assert body(out).count(b"\n") == body(out).count(b"\r\n") == body(out).count(b"\r")
    assert not email.message_from_bytes(out).defects


# ---------------------------------------------------------------------------- base64 (M14)


@pytest.mark.parametrize("width", [4, 60, 64, 72, 76, 100_000])
def test_base64_keeps_its_width_and_ends(width: int) -> None:
    text = quopri.decodestring(page(f'<a href=3D"{LINK}">x</a>' * 5).encode())
    whole = html_message(text, "base64")
    flat = body(whole).replace(b"\r\n", b"")
    raw = b"\r\n".join(flat[at : at + width] for at in range(0, len(flat), width)) + b"\r\n\r\n"
    message = FIELDS + b"base64\r\n\r\n" + raw
    out = delivered(message)
    assert read(out).targets == [LINK] * 5
    lines = body(out).split(b"\r\n")
    assert max(map(len, lines)) == (min(width, 76))
    assert body(out).endswith(b"\r\n\r\n")
    assert restored(read(out).html[0], text) == text


@pytest.mark.parametrize("raw", [b"PGEg!aHJlZj4=", b"PGE=PGE=", b"PGEgaH", b"PGEgaHJlZj4"])
def test_malformed_base64_is_left(raw: bytes) -> None:
    message = FIELDS + b"base64\r\n\r\n" + raw + b"\r\n"
    assert plan_of(message).skipped == "base64-malformed"
    assert delivered(message) == message


def test_white_space_in_base64_is_no_fault() -> None:
    raw = body(html_message(page(f'<a href="{LINK}">x</a>'), "base64"))
    spaced = raw.replace(b"\r\n", b" \t\r\n\r\n ", 1)
    assert read(delivered(FIELDS + b"base64\r\n\r\n" + spaced)).targets == [LINK]


# ----------------------------------------------------------------------- 998 octets a line


@pytest.mark.parametrize("encoding", ["7bit", "8bit", "binary", ""])
def test_a_line_that_would_become_too_long_turns_the_part_quoted_printable(encoding: str) -> None:
    links = f'<a href="{LINK}">x</a>' * 20
    source = page(links + "\r\n \r\n.\r\nFrom x \u00e4 ").encode()
    assert max(map(len, source.split(b"\r\n"))) < 998
    field = b"Content-Transfer-Encoding: " + encoding.encode() + b"\r\n" if encoding else b""
    message = (
        HEAD + b"X-A: 1\r\n" + field + b"Content-Type: text/html; charset=utf-8\r\n\r\n" + source
    )
    out = delivered(message)
    assert all(len(line) <= 76 for line in body(out).split(b"\r\n"))
    reading = read(out)
    assert reading.targets == [LINK] * 20
    assert restored(reading.html[0], source) == source
    head = out.partition(b"\r\n\r\n")[0]
    assert head.count(b"Content-Transfer-Encoding: quoted-printable") == 1
    assert head.lower().count(b"content-transfer-encoding") == 1
    assert delivered(message, opens=False, clicks=False) == message


def test_a_single_long_line_is_encoded_with_crlf() -> None:
    source = (f'<a href="{LINK}">x</a>' * 20).encode()
    message = FIELDS + b"8bit\r\n\r\n" + source
    out = delivered(message)
    assert restored(read(out).html[0], source) == source
    assert b"\n" not in body(out).replace(b"\r\n", b"")


@pytest.mark.parametrize("length", range(690, 720))
def test_the_limit_is_exact(length: int) -> None:
    source = f'<a href="{LINK}">x</a>'.encode() + b"x" * length
    for opens, clicks in ((True, True), (True, False), (False, True)):
        out = delivered(FIELDS + b"8bit\r\n\r\n" + source, opens=opens, clicks=clicks)
        lines = body(out).split(b"\r\n")
        assert all(len(line) <= 998 for line in lines)
        assert restored(read(out).html[0], source) == source


# --------------------------------------------------------------------------------- render


def test_rendering_for_many_recipients_differs_in_tokens_only() -> None:
    message = html_message(page(f'<a href="{LINK}">x</a>' * 3), "quoted-printable")
    ring = KeyRing.of(b"s" * 32)
    plan = compile_plan(message, Switches(True, True), base_url=BASE_URL)
    mint = Mint(ring, plan.host)
    outs = [
        b"".join(render(message, plan, mint, Identity(n, 1, 1, 1), opens=True, clicks=True))
        for n in range(1, 5)
    ]
    assert len(set(outs)) == 4
    assert len(set(map(len, outs))) == 1
    assert len({re.sub(rb"/[co]/[=\r\n]*[\w=\r\n-]+", b"", out) for out in outs}) == 1


def test_a_mint_of_another_host_is_refused() -> None:
    message = html_message(page(f'<a href="{LINK}">x</a>'))
    mint = Mint(KeyRing.of(b"s" * 32), "t.other.test")
    with pytest.raises(HostMismatchError):
        render(message, plan_of(message), mint, Identity(1, 1, 1, 1), opens=True, clicks=True)


def test_without_a_mint_the_message_leaves_as_it_came() -> None:
    message = html_message(page(f'<a href="{LINK}">x</a>'))
    pieces = render(message, plan_of(message), None, Identity(1, 1, 1, 1), opens=True, clicks=True)
    assert pieces == [message]


@pytest.mark.parametrize("at", range(40, 76))
@pytest.mark.parametrize("mark", [" ses:no-track", ' clicktracking="on"', "\r\n ses:no-track"])
def test_lines_stay_short_where_a_mark_was_taken_out_over_a_line_end(at: int, mark: str) -> None:
    text = page("<i>" + "x" * at + f'</i><a href="https://h.test/"{mark}>' + "y" * 70 + "</a>")
    out = delivered(html_message(text, "quoted-printable"))
    assert max(map(len, out.partition(b"\r\n\r\n")[2].split(b"\r\n"))) <= 76
    assert read(out).pixels == 1

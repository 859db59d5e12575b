"""What is known of a part serves the next message, and changes nothing in its plan."""

import gc
import tracemalloc
from collections.abc import Iterable

import pytest

from relay.mail.mime import walk
from relay.mail.transfer import encode_base64
from tracking.packed import pack
from tracking.plan import Plan, Switches, compile_plan
from tracking.reading import Reading, Rules, read_part
from tracking.readings import Readings

BOTH = Switches(opens=True, clicks=True)
BASE = "https://t.shop.test"
MB = 1024 * 1024
HTML = b'<html><body><p>Hello <a href="https://shop.test/%d">shop</a></p></body></html>\r\n'


def mail(html: bytes, *, extra: bytes = b"", encoding: bytes = b"7bit") -> bytes:
    return (
        b"From: a@shop.test\r\n" + extra + b"MIME-Version: 1.0\r\n"
        b"Content-Type: text/html; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: " + encoding + b"\r\n\r\n" + html
    )


def two_parts(first: bytes, second: bytes) -> bytes:
    part = b"--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
    return (
        b"From: a@shop.test\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        + part + first + b"\r\n" + part + second + b"\r\n--b--\r\n"
    )  # fmt: skip


def plan(message: bytes, known: Readings | None, switches: Switches = BOTH) -> Plan:
    return compile_plan(message, switches, base_url=BASE, known=known)


MESSAGES = [
    mail(HTML % 1),
    mail(HTML % 1, extra=b"Message-ID: <a-longer-one@shop.test>\r\n"),
    mail(HTML % 2),
    mail(HTML % 1, encoding=b"quoted-printable"),
    mail(HTML % 1, encoding=b"base64"),
    mail(b"<p>" + b"x" * 940 + b'<a href="https://shop.test/1">a</a></p>\r\n'),
    two_parts(HTML % 1, HTML % 2),
    two_parts(HTML % 2, HTML % 1),
    two_parts(HTML % 1, HTML % 1),
    mail(HTML % 1, extra=b"List-Unsubscribe: <https://shop.test/1>\r\n"),
    mail(b'<a href="https://shop.test/%80\x80">a</a>'),
    mail(b'<a href="https://t.shop.test/c/x">a</a>'),
]


@pytest.mark.parametrize("number", range(len(MESSAGES)))
def test_a_plan_is_the_same_with_everything_known(number: int) -> None:
    known = Readings()
    for message in MESSAGES:
        for switches in (BOTH, Switches(opens=False, clicks=True), Switches(True, False)):
            plan(message, known, switches)
    for switches in (BOTH, Switches(opens=False, clicks=True), Switches(True, False)):
        message = MESSAGES[number]
        assert plan(message, known, switches) == plan(message, None, switches)


def test_the_second_mail_of_a_campaign_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Readings()
    first = plan(mail(HTML % 1), known)
    monkeypatch.setattr("tracking.plan.read_part", None)
    second = plan(mail(HTML % 1, extra=b"X-Other: 1\r\n"), known)
    assert [hole.start for hole in second.holes] == [hole.start + 12 for hole in first.holes]
    with pytest.raises(TypeError):
        plan(mail(HTML % 2), known)


def test_a_part_that_only_looks_alike_is_read() -> None:
    known = Readings()
    spare = b"<p>" + b"." * 300 + b"</p>"
    one = mail(spare + HTML % 1 + spare * 3)
    two = mail(spare + HTML % 2 + spare * 3)
    assert plan(one, known).links == [b"https://shop.test/1"]
    assert plan(two, known).links == [b"https://shop.test/2"]
    assert len(known) == 1  # the later one took its place


def test_what_is_kept_is_bounded() -> None:
    known = Readings(max_octets=40_000)
    for number in range(100, 200):
        plan(mail(HTML % number), known)
        assert known.octets <= 40_000
    assert 5 < len(known) < 20
    before = len(known)
    plan(mail(HTML % 1 * 40), known)  # more than a quarter of the bound
    assert len(known) == before


def links(number: int, count: int, encoding: bytes) -> bytes:
    """Give a mail of its own with so many short links."""
    body = b"<p>%06d</p>\r\n" % number + b"".join(
        b'<a href="https://s.test/%d">x</a>\r\n' % at for at in range(count)
    )
    if encoding == b"quoted-printable":
        body = body.replace(b"=", b"=3D")
    if encoding == b"base64":
        body = encode_base64(body)
    return mail(body, encoding=encoding)


def growth(known: Readings, messages: Iterable[bytes]) -> int:
    """Give how many octets more are held when these messages' plans were packed."""
    gc.collect()
    tracemalloc.start()
    for message in messages:
        pack(message, BOTH, base_url=BASE, known=known)
    del message
    gc.collect()
    octets, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return octets


@pytest.mark.parametrize("encoding", [b"7bit", b"quoted-printable", b"base64"])
@pytest.mark.parametrize("count", [1, 200])
def test_what_is_counted_is_what_is_held(count: int, encoding: bytes) -> None:
    known = Readings()
    pack(links(0, count, encoding), BOTH, base_url=BASE)
    octets = growth(known, (links(number, count, encoding) for number in range(1, 11)))
    assert len(known) == 10
    assert 0.8 * known.octets < octets < 1.2 * known.octets


def test_mails_full_of_short_links_hold_no_more_than_the_bound() -> None:
    known = Readings(MB)
    pack(links(0, 300, b"7bit"), BOTH, base_url=BASE)
    octets = growth(known, (links(number, 300, b"7bit") for number in range(1, 16)))
    assert MB / 2 < known.octets <= MB
    assert octets < 1.2 * MB


def test_what_is_added_to_a_reading_is_counted_when_it_is_added() -> None:
    known, html = Readings(), b"<p>\r\n" + HTML[:-2] % 1
    text = b"--b\r\n\r\nHello\r\n"
    part = b"--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + html + b"\r\n"
    begin = b"From: a@shop.test\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    seen = [known.octets]
    for before in range(3):  # the same part in another place has a packed plan of its own
        content = begin + text * before + part + b"--b--\r\n"
        for _ in range(2):
            assert pack(content, BOTH, base_url=BASE, known=known).data
        seen.append(known.octets)
    assert len(known) == 1
    assert 250 < seen[2] - seen[1] == seen[3] - seen[2] < 1000


def test_a_reading_that_was_dropped_counts_no_more() -> None:
    known = Readings()
    rules = Rules(BOTH, BASE, frozenset(), frozenset(), 10_000, 2048)
    body = HTML % 1
    part = walk(mail(body)).root
    reading, later = read_part(body, part, rules), read_part(body, part, rules)
    assert isinstance(reading, Reading)
    assert isinstance(later, Reading)
    known.keep(body, part, rules, reading)
    before = known.octets
    reading.placed(pixel=True)
    assert known.octets > before
    known.keep(bytes(bytearray(body)), part, rules, later)  # the same octets, read again
    assert known.octets == before
    reading.placed(pixel=False)
    assert known.octets == before


def test_the_same_bytes_as_another_type_are_another_part() -> None:
    known = Readings()
    rules = Rules(BOTH, BASE, frozenset(), frozenset(), 10_000, 2048)
    body = HTML % 1
    part = walk(mail(body)).root
    reading = read_part(body, part, rules)
    assert isinstance(reading, Reading)
    known.keep(body, part, rules, reading)
    assert known.get(body, part, rules) is reading
    assert known.get(body, part, rules._replace(base_url="https://other.test")) is None
    part.charset = "utf-16"
    assert known.get(body, part, rules) is None

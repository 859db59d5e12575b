"""What is known of a part serves the next message, and changes nothing in its plan."""

import pytest

from relay.mail.mime import walk
from tracking.plan import Plan, Switches, compile_plan
from tracking.reading import Reading, Rules, read_part
from tracking.readings import Readings

BOTH = Switches(opens=True, clicks=True)
BASE = "https://t.shop.test"
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
    assert known.octets == len(two) - two.index(b"\r\n\r\n") - 4


def test_what_is_kept_is_bounded() -> None:
    known = Readings(max_octets=1000)
    for number in range(100, 200):
        plan(mail(HTML % number), known)
        assert known.octets <= 1000
    assert 0 < len(known) <= 12
    before = len(known)
    plan(mail(HTML % 1 * 10), known)  # more than a quarter of the bound
    assert len(known) == before


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

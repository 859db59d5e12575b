"""What departure keeps from mail to mail holds no more memory than it may, whatever the mails."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from functools import cache
from itertools import count

import pytest
from msgspec.msgpack import encode
from msgspec.structs import replace

from relay.departure import plans
from relay.departure.bodies import Bodies, Made, Mints
from relay.departure.plans import Plans
from relay.departure.template import make as template
from relay.departure.templates import Templates
from relay.message import Message
from tests.harness.clerk import RING
from tracking.kept import MAX_OCTETS, Kept
from tracking.packed import pack, unpack
from tracking.plan import Plan, Switches
from tracking.render import render
from tracking.tokens import Identity, Mint

MB = 1024 * 1024
BASE = "https://t.relay.test"
WHO = Identity(1, 2, 3, 4)
HEAD = b"From: a@shop.test\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n"
FIRST = b"<p>%08d</p>\r\n"
LINK = b'<a\r\nhref="https://shop.test/%d/%s">x</a>\r\n'


@cache
def shape(links: int, length: int) -> tuple[bytes, Plan, int]:
    """Give a mail with so many links of about so many octets, its plan, and where its part is."""
    content = (
        HEAD
        + FIRST % 0
        + b"".join(LINK % (at, b"%08d" % at * (length // 8)) for at in range(links))
    )
    packed = pack(content, Switches(opens=True, clicks=True), base_url=BASE)
    assert packed.data
    return content, unpack(packed.data), packed.at


def mail(number: int, links: int, length: int) -> tuple[bytes, Message]:
    """Give a mail with octets and a plan of its own, as they are read from a disk."""
    content, plan, at = shape(links, length)
    message = Message(
        id=number,
        account=1,
        accepted_at=0,
        settings_version=1,
        sending_domain="shop.test",
        sending_domain_id=7,
        plan=encode(replace(plan, host=f"t{number:03}.relay.test")),
        plan_at=at,
    )
    return content.replace(FIRST % 0, FIRST % number), message


def leave(bodies: Bodies, content: bytes, message: Message, *, tracked: bool = True) -> Made:
    """Give what a mail becomes."""
    return bodies.make(content, message, WHO, opens=tracked, clicks=tracked, signed=True)


def growth(work: Callable[[], object]) -> int:
    """Give how many octets more are held when this was done."""
    gc.collect()
    tracemalloc.start()
    work()
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held


@pytest.mark.parametrize(
    ("mails", "links", "length", "times"),
    [(100, 1000, 800, 1), (60, 300, 300, 2), (300, 9, 600, 2)],  # the second time makes a template
)
def test_different_mails_hold_no_more_than_the_bounds(
    mails: int, links: int, length: int, times: int
) -> None:
    bodies = Bodies(Mints(RING))
    shape(links, length)

    def send() -> None:
        for number in range(mails):
            content, message = mail(number, links, length)
            for _ in range(times):
                leave(bodies, content, message)

    held = growth(send)
    counted = bodies._plans.octets + bodies._templates.octets
    assert counted <= 2 * MAX_OCTETS
    assert held < 1.25 * counted + MB


def test_mails_seen_once_hold_no_more_either() -> None:
    kept = Templates(MB)

    def look() -> None:
        for number in range(300):
            content = b"\r\n" + b"%d" % number * 1000
            packed = bytes(bytearray(b"%d" % number * 30_000))
            kept.get(content, 2, 1000, packed, None, opens=True, clicks=True)

    assert growth(look) < 1.25 * MB
    assert kept.octets > MB / 2


@pytest.mark.parametrize("tracked", [True, False])
def test_what_is_counted_is_what_is_held(tracked: bool) -> None:
    bodies = Bodies(Mints(RING))
    shape(100, 400)

    def send() -> None:
        for number in range(10):
            content, message = mail(number, 100, 400)
            for _ in range(2):
                leave(bodies, content, message, tracked=tracked)

    held = growth(send)
    counted = bodies._plans.octets + bodies._templates.octets
    assert counted > MB / 2
    assert 0.8 * counted < held < 1.25 * counted


@pytest.fixture
def read_plans(monkeypatch: pytest.MonkeyPatch) -> count[int]:
    """Count the plans that are read."""
    read = count()

    def reading(packed: bytes) -> object:
        next(read)
        return unpack(packed)

    monkeypatch.setattr(plans, "unpack", reading)
    return read


def test_a_campaign_finds_what_its_first_mails_left(read_plans: count[int]) -> None:
    bodies = Bodies(Mints(RING))
    campaigns = [mail(number, 60, 100) for number in range(20)]
    found = 0
    for turn in range(6):
        found += sum(leave(bodies, *one).template is not None for one in campaigns)
        leave(bodies, *mail(100 + turn, 1000, 800))  # takes nobody's place
    assert found == 5 * len(campaigns)
    assert next(read_plans) == len(campaigns) + 6


def test_a_mail_too_large_to_be_kept_leaves_as_it_should() -> None:
    bodies = Bodies(Mints(RING))
    content, message = mail(1, 1000, 800)
    plan, mint = unpack(message.plan), Mint(RING, "t001.relay.test")
    at = message.plan_at
    expected = b"".join(render(content, plan, mint, WHO, opens=True, clicks=True, at=at))
    for _ in range(3):
        assert b"".join(leave(bodies, content, message).pieces) == expected
    assert bodies._plans.octets == 0


def test_a_template_too_large_to_be_kept_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = count()
    monkeypatch.setattr(
        "relay.departure.templates.make",
        lambda body, plan, **on: (next(made), template(body, plan, **on))[1],
    )
    kept = Templates(40_000)
    body = b"a  b\r\n" * 1000  # with its relaxed form over a quarter
    for _ in range(9):
        assert kept.get(b"\r\n" + body, 2, 6000, b"", None, opens=False, clicks=False) is None
    assert next(made) == 1


def test_the_least_recently_used_goes_first() -> None:
    kept: Kept[int, str] = Kept(10_000)
    for key in range(4):
        kept.keep(key, str(key), 1500)
    assert (kept.octets, len(kept)) == (8000, 4)
    assert kept.get(0) == "0"
    kept.keep(4, "4", 2000)
    assert [kept.get(key) for key in range(5)] == ["0", None, "2", "3", "4"]
    kept.keep(4, "five", 10)  # takes the place of what was there
    assert kept.octets == 6000 + 510
    kept.keep(4, "six", 2001)  # over a quarter with what an entry takes itself
    assert kept.get(4) is None
    assert not kept.fits(2001)
    for key in range(4):
        kept.drop(key)
    assert (kept.octets, len(kept)) == (0, 0)


def test_plans_are_what_was_packed_without_the_decisions() -> None:
    _, message = mail(1, 3, 8)
    kept = Plans()
    plan = kept.get(message.plan)
    assert plan.holes == unpack(message.plan).holes
    assert plan.links == unpack(message.plan).links
    assert not plan.decisions
    assert kept.get(bytes(bytearray(message.plan))) is plan

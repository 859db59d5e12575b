"""Vendors' marks that ask for no tracking: honoured and taken out, or left with the whole mail."""

import re

import pytest

from tests.harness.tracked import delivered, html_message, page, read
from tracking.offline import BASE_URL, IDENTITY, RING
from tracking.plan import Switches, compile_plan
from tracking.render import render
from tracking.tokens import Mint

ENCODINGS = ["8bit", "quoted-printable", "base64"]
LINK = "https://h.test/a?x=1"


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
    out = delivered(html_message(page(marked + "x</a>"), encoding))
    (html,) = read(out).html
    assert re.sub(rb"<img [^>]*>", b"", html) == page(plain + "x</a>").encode()


@pytest.mark.parametrize("switches", [(False, True), (True, True)], ids=["compiled", "departure"])
def test_where_nothing_is_tracked_the_marks_stay(switches: tuple[bool, bool]) -> None:
    """Without them, and without a link or pixel of ours, the mail handed in again is tracked."""
    message = html_message(page(f'<a href="{LINK}" data-pm-no-track>x</a>'))
    plan = compile_plan(message, Switches(*switches), base_url=BASE_URL)
    assert plan.skipped == ("" if switches[0] else "nothing-to-track")
    mint = Mint(RING, plan.host)
    assert render(message, plan, mint, IDENTITY, opens=False, clicks=True) == [message]


def test_a_mark_that_asks_for_tracking_is_taken_out_too() -> None:
    for tag in (f'<a href="{LINK}" clicktracking="on">', f'<a href={LINK} clicktracking="on"/>'):
        out = delivered(html_message(page(tag + "x</a>")))
        assert read(out).targets == [LINK]
        assert b"clicktracking" not in out

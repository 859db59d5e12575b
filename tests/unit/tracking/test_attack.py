"""Mails nobody would write, judged by parsers that are not ours (bench/attack_tracking.py)."""

import pytest

from bench.attack_tracking import attack
from tests.harness.alignment import align
from tests.harness.tracked import delivered, html_message, page

LINK = "https://h.test/a?x=1"
MAIL = html_message(page(f'<p>{LINK}</p><a href="{LINK}">x</a>'), "quoted-printable")


@pytest.mark.parametrize("mails", [60, pytest.param(3000, marks=pytest.mark.long)])
@pytest.mark.timeout(900)
def test_only_links_marks_and_the_pixel_change(mails: int) -> None:
    tally, wrong = attack(mails, seed=2)
    assert wrong == []
    assert tally.links > mails
    assert tally.outcomes["tracked"] > mails / 2


def test_a_good_mail_aligns() -> None:
    said = align(MAIL, delivered(MAIL))
    assert (said.links, said.pixels, said.wrong) == (1, 1, [])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"</p>", b"</q>"),
        (b"<title>t", b"<title>u"),
        (b"Subject: news", b"Subject: olds"),
        (b"x</a>", b"x </a>"),
        (b"https://h.test/a", b"https://h.test/b"),  # a link's text
        (b"/c/", b"/c/A"),  # a token of nobody's
        (b"</body>", b"<br></body>"),
    ],
)
def test_whatever_else_differs_is_seen(old: bytes, new: bytes) -> None:
    """The control."""
    out = delivered(MAIL)
    assert old in out
    assert align(MAIL, out.replace(old, new, 1)).wrong


def test_a_link_that_leads_elsewhere_is_seen() -> None:
    other = delivered(MAIL.replace(b'href=3D"https://h.test/a', b'href=3D"https://h.test/b'))
    assert align(MAIL, other).wrong

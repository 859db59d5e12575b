"""Whole messages: switches, budgets, and mail that was tracked before."""

import pytest

from tests.harness.tracked import delivered, html_message, multipart, page, plan_of, read
from tracking.offline import BASE_URL, is_pixel, unmap
from tracking.plan import Budget, Switches, compile_plan

ENCODINGS = ["8bit", "quoted-printable", "base64"]
LINK = "https://h.test/a?x=1"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_tracked_message_is_not_tracked_twice(encoding: str) -> None:
    once = delivered(html_message(page(f'<a href="{LINK}">x</a>'), encoding))
    assert plan_of(once).skipped == "already-tracked"
    assert delivered(once) == once
    only_pixel = delivered(html_message(page("x"), encoding))
    assert delivered(only_pixel) == only_pixel


def test_anothers_tracked_links_are_links() -> None:
    url = "https://t.waypost.test.evil.test/c/aHR0cDovL3g"
    assert read(delivered(html_message(page(f'<a href="{url}">x</a>')))).targets == [url]


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
    "base", ["", "t.test", "https://t.test/", "https://", "https://\u00fc.test", "ftp://t.test"]
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

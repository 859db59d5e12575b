"""Sweeps and second looks, held against the sentences that define them, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.steps import steps
from metrics.events import Event, Hit, Kind
from metrics.hits import Circumstances
from relay.process.judging import Judge
from tracking import machines
from tracking.machine_rules import builtin
from tracking.sweeps import Click, second_looks, sweeps

SECOND = 1_000_000
RULES = builtin().behaviour
LATE = 3600 * SECOND  # nothing is too soon after sending
CLICKS = st.lists(
    st.builds(
        Click,
        st.integers(0, 400).map(lambda n: LATE + n * SECOND),
        st.integers(0, 7),
        st.sampled_from("ab"),
        st.sampled_from("xy"),
    ),
    max_size=24,
)


def crowded(click: Click, clicks: Sequence[Click], wanted: int, span: int) -> bool:
    """Say whether some window around a click has so many links."""
    windows = (
        {each.link for each in clicks if start.at <= each.at <= start.at + span}
        for start in clicks
        if start.at <= click.at <= start.at + span
    )
    return any(len(links) >= wanted for links in windows)


@given(CLICKS, st.none() | st.integers(0, 400).map(lambda n: LATE + n * SECOND))
def test_crowds_are_what_they_are_defined_to_be(clicks: list[Click], first: int | None) -> None:
    unopened = [each for each in clicks if first is None or each.at < first]
    for click, rule in zip(clicks, sweeps(clicks, first, RULES), strict=True):
        burst = crowded(click, clicks, RULES.burst_links, RULES.burst)
        early = click in unopened and crowded(click, unopened, RULES.unopened_links, RULES.unopened)
        assert (rule == "burst") is burst
        assert (rule == "links-unopened") is (early and not burst)


@given(CLICKS, st.data())
def test_second_looks_are_what_they_are_defined_to_be(
    clicks: list[Click], data: st.DataObject
) -> None:
    people = data.draw(st.sets(st.integers(0, len(clicks) - 1))) if clicks else set()
    span = RULES.second_look
    wanted = {
        index
        for index, click in enumerate(clicks)
        if any(
            clicks[n].link == click.link
            and 0 <= click.at - clicks[n].at <= span
            and clicks[n].agent != click.agent
            and clicks[n].network != click.network
            for n in people
        )
    }
    assert second_looks(clicks, people, span) == wanted


def test_a_walk_is_known_by_its_length_and_ends_where_a_link_is_left_out() -> None:
    def walk(links: Sequence[int], agent: str = "a") -> list[Click]:
        places = enumerate(links)
        return [Click(LATE + n * 30 * SECOND, link, agent, "x") for n, link in places]

    whole, left_out = walk(range(6)), walk([0, 1, 2, 4, 5, 6], "b")
    rules = sweeps([*left_out, *reversed(whole)], LATE, RULES)
    assert rules == [""] * 6 + ["walk"] * 6
    both = walk([0, 1, 2, 9, 3, 4, 5, 6, 7, 8], "c")  # the first three are no part of the second
    assert sweeps(both, LATE, RULES) == [""] * 4 + ["walk"] * 6


@given(CLICKS)
def test_all_at_once_is_each_in_the_company_of_the_others(clicks: list[Click]) -> None:
    hits = [
        machines.Hit(
            at=click.at,
            kind="click" if click.link else "open",
            delivery=1,
            link=click.link,
            method="HEAD" if click.link == 6 else "GET",
            user_agent=click.agent,
            address={"x": "192.0.2.1", "y": "198.51.100.1"}[click.network],
        )
        for click in clicks
    ]
    one_by_one = [machines.classify(hit, hits[:at] + hits[at + 1 :]) for at, hit in enumerate(hits)]
    assert machines.classify_all(hits) == one_by_one


def _revisited(at: int, size: int) -> tuple[int, int, str, str]:
    """A sweep over three links, then visitor after visitor on the first of them."""
    if at < size // 2:
        return LATE + at * 1000, at % 3, "a", "192.0.2.1"
    return LATE + 3 * SECOND + at * 1000, 0, f"b{at}", f"10.{at % 250}.{at // 250}.1"


def _one_link(at: int, _size: int) -> tuple[int, int, str, str]:
    return LATE + at * 1000, 0, f"a{at % 2}", "192.0.2.1"


def _many_links(at: int, _size: int) -> tuple[int, int, str, str]:
    return LATE + at * 1000, at, "a", f"10.{at % 250}.0.1"


def _walk(at: int, _size: int) -> tuple[int, int, str, str]:
    return LATE + at * 59 * SECOND, at, "a", "192.0.2.1"


@pytest.mark.parametrize("flood", [_revisited, _one_link, _many_links, _walk])
def test_a_flood_of_hits_is_judged_at_the_price_of_each_hit(
    flood: Callable[[int, int], tuple[int, int, str, str]],
) -> None:
    """Eight times as many: quadratic work would take 64 times the steps."""

    def judging(size: int) -> int:
        hits = []
        for at, link, agent, address in (flood(n, size) for n in range(size)):
            hit = Hit(link=link, user_agent=f"Mozilla/5.0 {agent}", address=address)
            hits.append(Event(at=at, kind=Kind.CLICKED, delivery=1, hit=hit))
        around = Circumstances(accepted_at=1, delivered_at=1, recipient_domain="", provider="")
        return steps(lambda: Judge().classify(around, hits))

    assert judging(160) <= 10 * judging(20)

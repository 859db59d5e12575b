"""Merging facts commutes, and what a fate counts is right for each way a delivery can go."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics import measures as m
from metrics.contribution import count_change, count_fate, result_of
from metrics.events import Event, Kind, decode, encode
from metrics.fate import Fate, merge
from metrics.measures import NAMES
from metrics.sheet import Sheet
from tests.harness.facts import START, about, accepted, life

SECOND = 1_000_000


def fate_of(*events: Event) -> Fate:
    """Merge events into a fate with a mailing."""
    fate = Fate(1, 1, 99, "inbox.test", "inbox", "red")
    for event in events:
        merge(fate, event)
    return fate


def counted(fate: Fate) -> dict[str, int]:
    """Give what a fate counts, summed over time."""
    sheet = Sheet()
    count_fate(sheet, fate, +1)
    sums = dict.fromkeys(NAMES, 0)
    for cell in sheet.time_cells().values():
        for measure, n in cell.items():
            sums[NAMES[measure]] += n
    return {name: n for name, n in sums.items() if n}


@given(st.integers(0, 2**32), st.randoms(use_true_random=False))
def test_merging_does_not_know_order(seed: int, shuffle: random.Random) -> None:
    """Any order of a delivery's facts gives the same fate."""
    facts = [e for part in life(random.Random(seed), 1, START) for e in part]  # noqa: S311
    shuffled = list(facts)
    shuffle.shuffle(shuffled)
    assert fate_of(*facts) == fate_of(*shuffled)


@given(st.integers(0, 2**32), st.integers(0, 10))
def test_a_change_is_taking_back_and_adding(seed: int, cut: int) -> None:
    """The difference of two fates leaves the sheet that counting the second alone gives."""
    facts = [e for part in life(random.Random(seed), 1, START) for e in part]  # noqa: S311
    stepwise, at_once = Sheet(), Sheet()
    before, after = fate_of(*facts[:cut]), fate_of(*facts)
    count_fate(stepwise, before, +1)
    count_change(stepwise, before, after)
    count_fate(at_once, after, +1)
    for one, other in (
        (stepwise.time_cells(), at_once.time_cells()),
        (stepwise.facet_cells(), at_once.facet_cells()),
    ):
        assert nonzero(one) == nonzero(other)
    assert {k: n for k, n in stepwise.seen.items() if n} == at_once.seen
    assert {k: n for k, n in stepwise.durations.items() if n} == at_once.durations


def nonzero(cells: Mapping[Any, dict[int, int]]) -> dict[Any, dict[int, int]]:
    """Leave out what is zero."""
    kept = {key: {m: n for m, n in cell.items() if n} for key, cell in cells.items()}
    return {key: cell for key, cell in kept.items() if cell}


DELIVERED = about(Kind.DELIVERED, 1, START + SECOND, took_ms=10)
HARD = about(Kind.BOUNCED, 1, START + 2 * SECOND, category="hard", reason="unknown")
LATER = about(Kind.BOUNCED, 1, START + 9 * SECOND, category="hard", reason="x", returned=True)
TAKEN = {"requested": 1, "accepted": 1}


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([DELIVERED], {**TAKEN, "sent": 1, "delivered": 1}),
        ([HARD], {**TAKEN, "sent": 1, "bounced_hard": 1}),
        ([DELIVERED, LATER], {**TAKEN, "sent": 1, "later_hard": 1}),
        ([HARD, LATER], {**TAKEN, "sent": 1, "bounced_hard": 1}),
        ([LATER], {**TAKEN, "later_hard": 1}),
        ([DELIVERED, HARD], {**TAKEN, "sent": 1, "delivered": 1}),  # the first end is the end
        ([about(Kind.FAILED, 1, START + 5)], {**TAKEN, "failed": 1}),
        ([about(Kind.EXCLUDED, 1, START + 5)], {**TAKEN, "excluded": 1}),
    ],
)
def test_every_way_a_delivery_can_go(events: list[Event], expected: dict[str, int]) -> None:
    """Sent is delivered and bounced together; a later bounce corrects a delivery only."""
    assert counted(fate_of(accepted(1), *events)) == expected


def test_a_parked_fate_counts_nothing() -> None:
    """Without a mailing there is nowhere to count."""
    fate = Fate(1)
    merge(fate, DELIVERED)
    assert counted(fate) == {}


def test_an_excluded_recipient_is_requested_once() -> None:
    """Excluded at acceptance: handed in, never accepted."""
    assert counted(fate_of(about(Kind.EXCLUDED, 1, START))) == {"requested": 1, "excluded": 1}


def test_results_are_a_closed_list() -> None:
    """A bounce is named by category and by when; an unknown category is ignored."""
    assert result_of(HARD) == "bounced_hard"
    assert result_of(LATER) == "later_hard"
    assert result_of(about(Kind.BOUNCED, 1, START, category="odd")) == "bounced_ignored"
    assert result_of(DELIVERED) == "delivered"


def test_events_survive_the_wire() -> None:
    """What is encoded is what is decoded; short records of older versions take defaults."""
    assert decode(encode(LATER)) == LATER
    assert len(m.NAMES) == m.WIDTH

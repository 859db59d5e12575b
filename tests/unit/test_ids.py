"""Ids grow, are unique between spools, and survive clocks that are set back."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.clock import SECOND
from relay.ids import MAX_SPOOL_NUMBER, IdSource, fresh_start, from_text, made_at, to_text
from tests.harness.spooled import START, WallClock


@given(
    st.lists(
        st.tuples(st.integers(-(10**7), 10**7), st.integers(1, 5000), st.booleans()), max_size=30
    )
)
def test_ids_never_repeat_across_set_backs_and_restarts(
    steps: list[tuple[int, int, bool]],
) -> None:
    clock = WallClock()
    source, last = IdSource(7, clock=clock), 0
    for jump, count, restart in steps:
        clock.forward(jump)
        first = source.take(count)
        assert first > last
        last = first + count - 1
        if restart:
            source = IdSource(7, above=last, clock=clock)


@given(st.lists(st.tuples(st.integers(-200, 200), st.integers(0, 50), st.booleans())))
def test_ids_given_and_lost_in_a_crash_are_not_given_again(
    runs: list[tuple[int, int, bool]],
) -> None:
    clock, stored, last = WallClock(), 0, 0
    for fiftieths, count, kept in runs:
        clock.forward(fiftieths / 50)
        stored = fresh_start(stored, clock)
        source = IdSource(7, above=stored, clock=clock)
        for _ in range(count):
            first = source.take()
            assert first > last
            last = first
            stored = first if kept else stored


def test_more_than_a_second_holds_borrows_the_next() -> None:
    clock = WallClock()
    source = IdSource(0, clock=clock)
    first = source.take(1 << 20)
    assert source.take() > first + (1 << 20) - 1
    assert made_at(first) == START
    assert made_at(source.take()) == START + SECOND


def test_two_spools_never_give_the_same_id() -> None:
    clock = WallClock()
    one, two = IdSource(1, clock=clock), IdSource(2, clock=clock)
    ours = {one.take() for _ in range(1000)}
    assert ours.isdisjoint({two.take() for _ in range(1000)})


def test_ids_fit_63_bits_until_2156() -> None:
    clock = WallClock(((1 << 32) - 1 + 1_577_836_800) * SECOND)
    assert 0 < IdSource(MAX_SPOOL_NUMBER, clock=clock).take() < 1 << 63


def test_threads_never_get_the_same_id() -> None:
    source = IdSource(1)
    found: list[int] = []

    def take() -> None:
        found.extend([source.take(3) for _ in range(2000)])

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 8000


@given(st.integers(0, (1 << 63) - 1))
def test_text_is_read_back(id_: int) -> None:
    text = to_text(id_)
    assert len(text) == 13
    assert text == text.lower()
    assert from_text(text) == id_
    assert from_text(text.upper()) == id_


@given(st.integers(0, (1 << 62)), st.integers(1, 1 << 61))
def test_text_is_unique(id_: int, more: int) -> None:
    assert to_text(id_) != to_text(id_ + more)


@pytest.mark.parametrize(
    "text", ["", "a", "a" * 12, "a" * 14, "0" * 13, "aaaaaaaaaaaa=", "ä" * 13, "aaaaaaaaaaaab"]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an id"):
        from_text(text)


@pytest.mark.parametrize("number", [-1, MAX_SPOOL_NUMBER + 1])
def test_a_spool_number_out_of_range_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="between 0 and 2047"):
        IdSource(number)


@pytest.mark.parametrize("count", [0, (1 << 20) + 1])
def test_a_count_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="ids at once"):
        IdSource(1).take(count)

"""A run that nobody measured is not within its bounds (I7)."""

from __future__ import annotations

from tests.harness.bounds import BUDGET, Bounds


def said(worker: int, **values: float) -> str:
    """Give what /metrics says of a worker, everything small but what is named."""
    held = {"peak_bytes": 1.2e8, "descriptors": 40.0, "tasks": 12.0, "lag_seconds": 0.0, **values}
    return "".join(
        f'waypost_worker_{name}{{worker="{worker}"}} {value}\n' for name, value in held.items()
    )


async def unasked() -> str:
    """Say nothing."""
    return ""


def after(*expositions: str) -> Bounds:
    """Give what was kept of these."""
    bounds = Bounds(unasked)
    for each in expositions:
        bounds.take(each)
    return bounds


def test_small_values_of_every_worker_are_fine() -> None:
    assert after(said(0) + said(1)).wrong(2) == []


def test_silence_is_named_for_each_worker_and_measure() -> None:
    assert len(after("").wrong(2)) == 2 * len(BUDGET)
    assert len(after(said(0)).wrong(2)) == len(BUDGET)


def test_a_worker_that_has_not_reported_yet_says_nothing_by_its_zeros() -> None:
    zeros = said(0, peak_bytes=0.0, descriptors=0.0, tasks=0.0)
    assert len(after(zeros).wrong(1)) == len(BUDGET) - 1


def test_what_was_high_for_a_moment_is_remembered() -> None:
    bounds = after(said(0), said(0, tasks=9000.0), said(0))
    assert bounds.wrong(1) == ["tasks of worker 0 was 9000; at most 300"]
    assert bounds.most()["tasks"] == 9000


async def test_asking_goes_on_until_every_worker_has_spoken() -> None:
    answers = iter([said(0), said(0) + said(1)])

    async def ask() -> str:
        return next(answers)

    bounds = Bounds(ask)
    assert not await bounds.reported(2)
    assert await bounds.reported(2)


async def test_nobody_there_to_ask_is_no_end_of_the_run() -> None:
    async def ask() -> str:
        raise ConnectionRefusedError

    bounds = Bounds(ask)
    async with bounds.watched():
        assert not await bounds.reported(1)

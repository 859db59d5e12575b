"""Destinations at the same hosts keep to one bound, and make room for each other."""

from __future__ import annotations

from pathlib import Path

from relay.dispatch.destination import Destination
from relay.dispatch.groups import Group
from relay.dispatch.limits import DispatchOptions, Limits
from relay.shared_table import SharedTable

TWO = Limits(concurrency=2, initial=2, group="big")


def destination(name: str, group: Group, limits: Limits = TWO) -> Destination:
    return Destination(name, limits, DispatchOptions(), 0.0, group=group)


def test_lanes_of_all_destinations_count() -> None:
    group = Group("big", 0.0)
    first, second, third = (destination(f"{n}.test", group) for n in "abc")
    first.lane_started()
    assert second.may_add_lane()
    second.lane_started()
    assert not third.may_add_lane()
    first.lane_ended()
    assert third.may_add_lane()


def test_other_workers_count_but_each_may_have_one(tmp_path: Path) -> None:
    ours, theirs = (
        Group("big", 0.0, SharedTable(tmp_path / "table", column, 2, slots=64)) for column in (0, 1)
    )
    for _ in range(2):
        theirs.lane_started()
    first, second = destination("a.test", ours), destination("b.test", ours)
    assert first.may_add_lane()
    first.lane_started()
    assert not second.may_add_lane()
    theirs.lane_ended()
    theirs.lane_ended()
    assert second.may_add_lane()


def test_the_rate_is_that_of_the_group() -> None:
    group = Group("big", 0.0)
    limits = Limits(per_second=4.0, group="big")
    first, second = (destination(f"{n}.test", group, limits) for n in "ab")
    assert first.take_token(0.0)
    assert not second.take_token(0.0)
    assert second.take_token(0.25)
    assert not first.take_token(0.25)


def test_a_destination_that_joins_takes_its_lanes_along(tmp_path: Path) -> None:
    tally = SharedTable(tmp_path / "table", 0, 1, slots=64)
    alone, group = Group("a.test", 0.0, tally), Group("big", 0.0, tally)
    moving = destination("a.test", alone, Limits(concurrency=20, initial=5))
    for _ in range(3):
        moving.lane_started()
    moving.join(group, TWO)
    assert (alone.lanes, group.lanes) == (0, 3)
    assert (tally.sum(b"lanes:a.test"), tally.sum(b"lanes:big")) == (0, 3)
    assert moving.allowed == 2.0
    assert not destination("b.test", group).may_add_lane()

"""The parts without I/O: turns, shares, concurrency, states, clocks."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.clock import DAY, HOUR, MINUTE
from relay.dispatch.clock_jumps import JumpWatch, brought_near
from relay.dispatch.commands import covers
from relay.dispatch.destination import Destination
from relay.dispatch.fair import FairQueue
from relay.dispatch.limits import DispatchOptions, Feedback, Limits
from relay.dispatch.picking import level, pick
from relay.ids import IdSource
from relay.message import Delivery, State
from relay.spool.protocol import DueQueue, IllegalMoveError, QueueKey, Selection
from relay.spool.states import MOVES, Fact, move
from tests.harness.spooled import START, WallClock


def delivery(
    id_: int = 1, account: int = 1, campaign: str = "", priority: int = 0, **more: object
) -> Delivery:
    made = Delivery(
        id=id_,
        message=id_,
        recipient=b"a@b.test",
        recipient_domain="b.test",
        destination="b.test",
        account=account,
        campaign=campaign,
        priority=priority,
    )
    return msgspec.structs.replace(made, **more)


# -- turns -------------------------------------------------------------------------------------


def popped(queue: FairQueue) -> list[Delivery]:
    found = []
    while (one := queue.pop()) is not None:
        found.append(one)
    return found


def test_parties_take_turns() -> None:
    queue = FairQueue()
    for n in range(6):
        queue.push(delivery(n, account=1))
    queue.push(delivery(10, account=2))
    queue.push(delivery(11, account=1, campaign="x"))
    assert [d.id for d in popped(queue)] == [0, 10, 11, 1, 2, 3, 4, 5]


def test_higher_priorities_go_first() -> None:
    queue = FairQueue()
    for n, priority in enumerate((0, 5, -1, 5, 0)):
        queue.push(delivery(n, priority=priority))
    assert [d.id for d in popped(queue)] == [1, 3, 0, 4, 2]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-2, 2))))
def test_nothing_is_lost_and_order_within_a_party_is_kept(what: list[tuple[int, int]]) -> None:
    queue = FairQueue()
    pushed = [delivery(n, account=a, priority=p) for n, (a, p) in enumerate(what)]
    for one in pushed:
        queue.push(one)
    assert len(queue) == len(pushed)
    found = popped(queue)
    assert sorted(d.id for d in found) == [d.id for d in pushed]
    assert [d.priority for d in found] == sorted((p for _, p in what), reverse=True)
    for party in range(4):
        for priority in range(-2, 3):
            ids = [d.id for d in found if (d.account, d.priority) == (party, priority)]
            assert ids == sorted(ids)


def test_what_is_taken_out_is_gone() -> None:
    queue = FairQueue()
    for n in range(4):
        queue.push(delivery(n, account=n % 2))
    assert sorted(d.id for d in queue.take_out(lambda d: d.account == 1)) == [1, 3]
    assert [d.id for d in popped(queue)] == [0, 2]


# -- shares ------------------------------------------------------------------------------------


@given(st.dictionaries(st.integers(), st.integers(0, 100)), st.integers(0, 500))
def test_room_is_shared_out_whole_and_small_wishes_are_met(
    wanted: dict[int, int], room: int
) -> None:
    granted = level(wanted, room)
    assert sum(granted.values()) == min(room, sum(wanted.values()))
    for name, wish in wanted.items():
        assert 0 <= granted[name] <= wish
        if granted[name] < wish:  # then nobody got more than one above it
            assert max(granted.values()) <= granted[name] + 1


def queue(id_: int, destination: str, waiting: int, **key: object) -> DueQueue:
    base = QueueKey(destination, 1, "", "shop.test", 0)
    return DueQueue(id_, base._replace(**key), waiting, START)  # type: ignore[arg-type]


def picked(queues: Sequence[DueQueue], room: int, allowance: int = 1000) -> dict[int, int]:
    return dict(pick(queues, room, lambda _: allowance))


def test_a_large_destination_leaves_room_for_small_ones() -> None:
    queues = [queue(1, "big.test", 900_000), queue(2, "a.test", 3), queue(3, "b.test", 5)]
    assert picked(queues, 100) == {1: 92, 2: 3, 3: 5}


def test_accounts_share_whatever_the_number_of_their_campaigns() -> None:
    queues = [queue(n, "a.test", 100, campaign=str(n)) for n in range(9)]
    queues.append(queue(9, "a.test", 100, account=2))
    found = picked(queues, 90)
    assert found[9] == 45
    assert sum(found[n] for n in range(9)) == 45


def test_higher_priorities_are_claimed_first() -> None:
    queues = [queue(1, "a.test", 50), queue(2, "a.test", 50, priority=1)]
    assert picked(queues, 60) == {2: 50, 1: 10}
    assert picked(queues, 60, allowance=20) == {2: 20}


# -- one destination ---------------------------------------------------------------------------


def destination(limits: Limits | None = None, **options: float) -> Destination:
    made = DispatchOptions(**options)  # type: ignore[arg-type]
    return Destination("b.test", limits or Limits(concurrency=20, initial=5), made, 0.0)


def test_concurrency_rises_slowly_and_is_halved() -> None:
    one = destination()
    for _ in range(5):
        one.note(Feedback.GOOD, 0.1, 1.0)
    assert 5.9 < one.allowed < 6.1
    for _ in range(2000):
        one.note(Feedback.GOOD, 0.1, 1.0)
    assert one.allowed == 20
    one.note(Feedback.THROTTLED, 0.1, 1.0)
    assert one.allowed == 10


def test_pauses_grow_with_each_throttling_and_are_bounded() -> None:
    one = destination(pause_first=10, pause_longest=100)
    now, pauses = 0.0, []
    for _ in range(6):
        one.note(Feedback.THROTTLED, 0.1, now)
        one.note(Feedback.THROTTLED, 0.1, now)  # of attempts under way: does not count twice
        pauses.append(one.paused_until - now)
        assert not one.is_open(now)
        now = one.paused_until
        assert one.is_open(now)
    assert pauses == [10, 20, 40, 80, 100, 100]
    assert one.allowed == 1


def test_a_pause_the_remote_asks_for_is_kept() -> None:
    one = destination()
    one.note(Feedback.THROTTLED, 0.1, 0.0, pause=777.0)
    assert one.paused_until == 777.0


def test_an_unreachable_destination_goes_down_to_one_lane_and_pauses() -> None:
    one = destination()
    for _ in range(3):
        one.note(Feedback.UNREACHABLE, 30.0, 0.0)
    assert (one.allowed, one.is_open(0.0)) == (2.0, True)
    one.note(Feedback.UNREACHABLE, 30.0, 0.0)
    assert (one.allowed, one.is_open(0.0), one.quick) == (1.0, False, False)


def test_a_rate_is_kept_over_any_second() -> None:
    one = destination(Limits(per_second=40))
    starts = [t / 1000 for t in range(10_000) if one.take_token(t / 1000)]
    assert 395 <= len(starts) <= 411
    for start in starts:
        assert sum(start <= other < start + 1 for other in starts) <= 51


# -- states ------------------------------------------------------------------------------------


def test_every_move_not_in_the_table_raises() -> None:
    for state in State:
        for fact in Fact:
            if fact in MOVES[state]:
                assert move(state, fact) is MOVES[state][fact]
            else:
                with pytest.raises(IllegalMoveError, match=f"{state.name} .* {fact.value}"):
                    move(state, fact)


# -- clocks ------------------------------------------------------------------------------------


def test_jumps_are_told_from_time_that_passes() -> None:
    wall, steady = WallClock(), [100.0]
    watch = JumpWatch(wall, monotonic=lambda: steady[0])
    wall.forward(3600)
    steady[0] += 3600
    assert watch.jumped() == 0
    wall.forward(-3600)
    assert watch.jumped() == -HOUR
    assert watch.jumped() == 0
    wall.forward(10 * 86400)
    assert watch.jumped() == 10 * DAY


def test_after_a_set_back_due_times_come_near_but_scheduled_mail_keeps_its_time() -> None:
    then, now = START, START - 10 * DAY
    made = IdSource(1, clock=lambda: then).take()
    fresh = delivery(made, not_before=then)
    retried = delivery(made, not_before=then + HOUR, attempt=3, last_reply="451")
    soon = delivery(made, not_before=now + MINUTE, attempt=3)
    scheduled = delivery(made, not_before=then + DAY)
    held = delivery(made, not_before=then, state=State.HELD)
    settled = [brought_near(d, now, 4 * HOUR) for d in (fresh, retried, soon, scheduled, held)]
    assert [s and s.not_before for s in settled] == [now, now + 4 * HOUR, None, None, None]
    assert settled[1] is not None
    assert (settled[1].attempt, settled[1].last_reply) == (3, "451")


def test_a_selection_covers_what_matches_all_it_names() -> None:
    one = delivery(7, account=2, campaign="x")
    assert covers(Selection(), one)
    assert covers(Selection(account=2, campaign="x", delivery=7), one)
    assert not covers(Selection(account=2, campaign="y"), one)
    assert not covers(Selection(destination="c.test"), one)

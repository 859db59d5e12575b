"""Dispatch over a real spool: lanes get what is due, in turn, within bounds; nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.clock import SECOND
from relay.dispatch.destination import Destination
from relay.dispatch.dispatcher import Dispatcher
from relay.dispatch.lanes import Take
from relay.dispatch.limits import DispatchOptions, Feedback, Limits
from relay.message import Delivery, Settlement, State
from relay.shared_table import SharedTable
from relay.spool.local import LocalSpool, open_spool
from relay.spool.options import SpoolOptions
from relay.spool.protocol import DamagedContentError, Selection
from tests.harness.lanes import QUICKLY, Office, running, send
from tests.harness.spooled import WallClock, done, message_to, put, retry


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


@pytest.fixture
async def spool(tmp_path: Path, clock: WallClock) -> AsyncIterator[LocalSpool]:
    async with open_spool(tmp_path / "1", 1, SpoolOptions(disk_reserve=0), clock=clock) as found:
        yield found


# -- the way through ---------------------------------------------------------------------------


async def test_a_fresh_delivery_goes_straight_to_a_lane(
    spool: LocalSpool, clock: WallClock
) -> None:
    async with running(spool, clock) as office:
        sent = await send(office, "a.test", "b.test")
        await office.count(2)
        assert sorted(d.id for d in office.sent) == [d.id for d in sent]
    assert await spool.destinations() == []


async def test_a_backlog_is_sent_whatever_its_length(spool: LocalSpool, clock: WallClock) -> None:
    await asyncio.gather(*(put(spool, f"d{n % 7}.test", state=State.WAITING) for n in range(700)))
    options = DispatchOptions(tick=0.01, lingering=0.02, window=50, share=8)
    async with running(spool, clock, options=options) as office:
        await office.count(700)
        assert len({d.id for d in office.sent}) == 700
    assert await spool.destinations() == []


async def test_the_window_is_never_exceeded(spool: LocalSpool, clock: WallClock) -> None:
    await asyncio.gather(*(put(spool, f"d{n}.test", state=State.WAITING) for n in range(100)))
    options = DispatchOptions(tick=0.01, lingering=0.02, window=10, unproven=1.0)
    async with running(spool, clock, options=options) as office:
        gates = [office.gate(f"d{n}.test") for n in range(100)]
        await office.until(lambda: sum(office.open.values()) >= 10)
        for _ in range(20):
            await spool.destinations()
            await asyncio.sleep(0)
        assert office.dispatcher.status()["claimed"] <= 10
        assert sum(w.claimed for w in await spool.destinations()) <= 10
        assert not office.dispatcher.room(1)
        for gate in gates:
            gate.set()
        await office.count(100)


async def test_what_finds_no_room_waits_in_the_spool_and_is_sent(
    spool: LocalSpool, clock: WallClock
) -> None:
    options = DispatchOptions(tick=0.01, lingering=0.02, window=5)
    async with running(spool, clock, options=options) as office:
        for n in range(40):
            await send(office, f"d{n % 3}.test")
        await office.count(40)


async def test_retries_come_back_when_due(spool: LocalSpool, clock: WallClock) -> None:
    async with running(spool, clock) as office:
        office.verdict = lambda d: (
            (retry(d, clock() + 60 * SECOND), Feedback.NEUTRAL)
            if d.attempt == 0
            else (done(d), Feedback.GOOD)
        )
        await send(office, "a.test")
        await office.count(1)
        await spool.record([])
        assert len(office.sent) == 1
        clock.forward(61)
        await office.count(2)
        assert office.sent[1].attempt == 1


async def test_a_clock_set_back_does_not_hold_mail_up(spool: LocalSpool, clock: WallClock) -> None:
    async with running(spool, clock) as office:
        office.verdict = lambda d: (
            (retry(d, clock() + 60 * SECOND), Feedback.NEUTRAL)
            if d.attempt == 0
            else (done(d), Feedback.GOOD)
        )
        await send(office, "a.test")
        await office.count(1)
        await spool.record([])
        clock.forward(-10 * 86400)
        (waiting,) = await spool.waiting(Selection(), 9)
        while waiting.not_before > clock() + 4 * 3600 * SECOND:
            (waiting,) = await spool.waiting(Selection(), 9)
        clock.forward(4 * 3600)
        await office.count(2)


async def test_a_clock_set_back_while_nobody_ran_does_not_either(
    spool: LocalSpool, clock: WallClock
) -> None:
    await put(spool, "a.test", state=State.WAITING)
    clock.forward(-10 * 86400)
    async with running(spool, clock) as office:
        await office.count(1)


@pytest.mark.long
async def test_control_a_clock_set_back_that_nobody_minds_is_noticed(
    spool: LocalSpool, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K02: the check above fails where due times stay as they were."""

    async def nothing(_self: Dispatcher) -> None:
        pass

    monkeypatch.setattr(Dispatcher, "_bring_near", nothing)
    monkeypatch.setattr(Office, "patience", 3.0)
    with pytest.raises(TimeoutError):
        await test_a_clock_set_back_while_nobody_ran_does_not_either(spool, clock)


# -- fairness ----------------------------------------------------------------------------------


async def test_a_stuck_destination_delays_no_other(spool: LocalSpool, clock: WallClock) -> None:
    for _ in range(30):
        await put(spool, *["slow.test"] * 10, state=State.WAITING)
    options = DispatchOptions(tick=0.01, lingering=0.02, window=100)
    async with running(spool, clock, options=options) as office:
        office.gate("slow.test")
        await office.until(lambda: office.open["slow.test"] > 0)
        for n in range(50):
            await send(office, f"d{n % 5}.test")
        await office.count(50)
        assert "slow.test" not in {d.destination for d in office.sent}


@pytest.mark.long
async def test_control_a_window_without_shares_is_noticed(
    spool: LocalSpool, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P21: the check above fails where one destination may fill the window."""
    monkeypatch.setattr(Destination, "share", 100)
    monkeypatch.setattr(Office, "patience", 3.0)
    monkeypatch.setattr(Dispatcher, "_allowance", lambda _self, _name: 100)
    with pytest.raises(TimeoutError):
        await test_a_stuck_destination_delays_no_other(spool, clock)
    assert sum(w.claimed for w in await spool.destinations()) == 100


async def test_many_slow_destinations_leave_lanes_to_quick_ones(
    spool: LocalSpool, clock: WallClock
) -> None:
    options = DispatchOptions(tick=0.01, lingering=0.02, window=200, lanes=10)
    async with running(spool, clock, options=options) as office:
        await send(office, "quick.test")
        await office.count(1)  # it has shown that it is quick
        for n in range(50):
            office.gate(f"slow{n}.test")
            await send(office, f"slow{n}.test")
        await office.until(lambda: office.dispatcher.status()["starved_destinations"] > 0)
        for _ in range(20):
            await send(office, "quick.test")
        await office.count(21)
        assert office.dispatcher.status()["lanes"] <= 10


async def test_idle_lanes_give_way(spool: LocalSpool, clock: WallClock) -> None:
    options = DispatchOptions(tick=0.01, lingering=1000, lanes=2, unproven=1.0)
    async with running(spool, clock, options=options) as office:
        for n in range(10):
            await send(office, f"d{n}.test")
            await office.count(n + 1)
        assert office.dispatcher.status()["lanes"] <= 2


async def test_room_knows_the_destination(spool: LocalSpool, clock: WallClock) -> None:
    options = DispatchOptions(tick=0.01, lingering=0.02, share=5, window=20)
    async with running(spool, clock, options=options) as office:
        office.gate("slow.test")
        while office.dispatcher.room(1, "slow.test"):
            await send(office, "slow.test")
        assert office.dispatcher.status()["claimed"] == 5
        assert office.dispatcher.room(1)
        assert office.dispatcher.room(1, "quick.test")
        await office.dispatcher.stop(0)
        assert not office.dispatcher.room(1, "quick.test")


async def test_accounts_and_campaigns_take_turns(spool: LocalSpool, clock: WallClock) -> None:
    for n in range(200):
        await put(spool, "a.test", state=State.WAITING, account=1 + (n > 195))
    limits = Limits(concurrency=1, initial=1)
    async with running(spool, clock, limits=limits) as office:
        await office.count(200)
    places = [n for n, d in enumerate(office.sent) if d.account == 2]
    assert places[-1] < 20


async def test_urgent_mail_overtakes_a_backlog(spool: LocalSpool, clock: WallClock) -> None:
    for _ in range(300):
        await put(spool, "a.test", state=State.WAITING)
    options = DispatchOptions(tick=0.01, lingering=0.02, window=20, share=10)
    limits = Limits(concurrency=1, initial=1)
    async with running(spool, clock, options=options, limits=limits) as office:
        gate = office.gate("a.test")
        await office.until(lambda: office.open["a.test"] > 0)
        (urgent,) = await put(spool, "a.test", state=State.WAITING, priority=9)
        office.dispatcher.look()
        gate.set()
        await office.count(301)
    assert [d.id for d in office.sent].index(urgent.id) < 60


# -- limits ------------------------------------------------------------------------------------


async def test_concurrency_starts_low_and_keeps_to_its_limit(
    spool: LocalSpool, clock: WallClock
) -> None:
    limits = Limits(concurrency=4, initial=2)
    async with running(spool, clock, limits=limits) as office:
        gate = office.gate("a.test")
        for _ in range(60):
            await send(office, "a.test")
        await office.until(lambda: office.open["a.test"] == 2)
        assert office.most["a.test"] == 2
        gate.set()
        await office.count(60)
        assert office.most["a.test"] <= 4


async def test_concurrency_is_shared_by_workers_but_for_one_lane_each(
    tmp_path: Path, spool: LocalSpool, clock: WallClock
) -> None:
    ours = SharedTable(tmp_path / "shared", 0, 2)
    theirs = SharedTable(tmp_path / "shared", 1, 2)
    theirs.add(b"lanes:a.test", 3)
    limits = Limits(concurrency=3, initial=3)
    async with running(spool, clock, limits=limits, tally=ours) as office:
        gate = office.gate("a.test")
        for _ in range(20):
            await send(office, "a.test")
        await office.until(lambda: office.open["a.test"] == 1)
        theirs.sub(b"lanes:a.test", 2)
        await send(office, "a.test")
        await office.until(lambda: office.open["a.test"] == 2)
        gate.set()
        await office.count(21)
        assert office.most["a.test"] <= 3
    assert theirs.sum(b"lanes:a.test") == 1


async def test_throttling_pauses_a_destination_and_gives_its_mail_back(
    spool: LocalSpool, clock: WallClock
) -> None:
    async with running(spool, clock, limits=Limits(initial=1)) as office:
        office.verdict = lambda d: (retry(d, clock()), Feedback.THROTTLED)
        gate = office.gate("a.test")
        for _ in range(30):
            await send(office, "a.test")
        gate.set()
        await office.count(1)
        await office.until(lambda: office.dispatcher.status()["claimed"] == 0)
        await spool.record([])
        await spool.record([])
        (waiting,) = await spool.destinations()
        assert (waiting.waiting, waiting.claimed) == (30, 0)
        assert office.dispatcher.status()["paused_destinations"] == 1
        await send(office, "b.test")
        await office.until(lambda: office.sent[-1].destination == "b.test")


async def test_a_rate_limit_lets_everything_through_in_time(
    spool: LocalSpool, clock: WallClock
) -> None:
    async with running(spool, clock, limits=Limits(per_second=100)) as office:
        for _ in range(30):
            await send(office, "a.test")
        await office.count(30)


# -- what goes wrong ---------------------------------------------------------------------------


async def test_mail_that_breaks_a_lane_is_put_off_then_held(
    spool: LocalSpool, clock: WallClock
) -> None:
    async with running(spool, clock) as office:

        def breaks(delivery: Delivery) -> tuple[Settlement, Feedback]:
            if delivery.destination == "bad.test":
                raise ZeroDivisionError("our bug")
            return done(delivery), Feedback.GOOD

        office.verdict = breaks
        await send(office, "bad.test")
        await send(office, "good.test")
        held: list[Delivery] = []
        while not held:
            clock.forward(100)
            office.dispatcher.look()
            await spool.record([])
            held = [d for d in await spool.waiting(Selection(), 9) if d.state is State.HELD]
        assert (held[0].last_reply, held[0].attempt) == ("set aside: our bug", 3)
        assert [d.destination for d in office.sent] == ["good.test"]


async def test_damaged_content_is_held_at_once(spool: LocalSpool, clock: WallClock) -> None:
    async with running(spool, clock) as office:

        def damaged(_: Delivery) -> tuple[Settlement, Feedback]:
            raise DamagedContentError("the record is damaged")

        office.verdict = damaged
        await send(office, "a.test")
        found: list[Delivery] = []
        while not found:
            found = await spool.waiting(Selection(), 9)
        assert found[0].state is State.HELD


async def test_a_lane_that_breaks_before_it_begins_does_not_spin(
    spool: LocalSpool, clock: WallClock
) -> None:
    started = 0

    async def broken(destination: str, take: Take) -> None:
        nonlocal started
        started += 1
        raise ZeroDivisionError

    dispatcher = Dispatcher(spool, broken, clock=clock, options=QUICKLY)
    task = asyncio.ensure_future(dispatcher.run())
    message, deliveries = message_to(spool, "a.test")
    await spool.accept(message, b"x", deliveries, [])
    dispatcher.offer(message, deliveries)
    for _ in range(30):
        await spool.record([])
    assert started == 1
    await dispatcher.stop(1)
    task.cancel()
    await spool.record([])
    assert (await spool.destinations())[0].waiting == 1


async def test_stop_gives_back_what_no_lane_has_and_waits_for_the_rest(
    spool: LocalSpool, clock: WallClock
) -> None:
    async with running(spool, clock, limits=Limits(initial=2, concurrency=2)) as office:
        gate = office.gate("a.test")
        for _ in range(10):
            await send(office, "a.test")
        await office.until(lambda: office.open["a.test"] == 2)
        stopping = asyncio.ensure_future(office.dispatcher.stop(10))
        await asyncio.sleep(0)
        gate.set()
        await stopping
        assert len(office.sent) == 2
        await spool.record([])
        found = await spool.waiting(Selection(), 99)
        assert [(d.attempt, d.ambiguous) for d in found] == [(0, False)] * 8


async def test_what_is_broken_off_is_put_off_as_ambiguous(
    spool: LocalSpool, clock: WallClock
) -> None:
    async with running(spool, clock) as office:
        office.gate("a.test")
        await send(office, "a.test")
        await office.until(lambda: office.open["a.test"] == 1)
        await office.dispatcher.stop(0)
        await spool.record([])
        (found,) = await spool.waiting(Selection(), 9)
        assert (found.ambiguous, found.last_reply) == (True, "broken off")

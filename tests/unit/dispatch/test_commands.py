"""An operator's hand on the queue: what waits and what dispatch holds, not what is on the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relay.clock import SECOND
from relay.dispatch.commands import QueueCommands
from relay.dispatch.limits import Limits
from relay.message import State
from relay.spool.local import LocalSpool, open_spool
from relay.spool.options import SpoolOptions
from relay.spool.protocol import Selection
from tests.harness.lanes import Office, running, send
from tests.harness.spooled import START, WallClock, put


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


@pytest.fixture
async def spool(tmp_path: Path, clock: WallClock) -> AsyncIterator[LocalSpool]:
    async with open_spool(tmp_path / "1", 1, SpoolOptions(disk_reserve=0), clock=clock) as found:
        yield found


def commands(office: Office, clock: WallClock) -> QueueCommands:
    return QueueCommands(
        spool=office.spool,
        dispatcher=office.dispatcher,
        clock=clock,
        cancelled=lambda d: b"cancelled %d" % d.id,
    )


async def test_pause_reaches_what_is_ready_and_what_comes(
    spool: LocalSpool, clock: WallClock
) -> None:
    async with running(spool, clock, limits=Limits(initial=1, concurrency=1)) as office:
        gate = office.gate("a.test")
        for n in range(10):
            await send(office, "a.test", campaign=f"c{n % 2}")
        await office.until(lambda: office.open["a.test"] == 1)
        await office.dispatcher.pause(lambda key: key.campaign == "c1")
        gate.set()
        await office.count(5)
        await send(office, "a.test", campaign="c1")
        await spool.record([])
        await spool.record([])
        assert {d.campaign for d in office.sent} == {"c0"}
        await office.dispatcher.pause(lambda key: False)
        await office.count(11)


async def test_hold_and_release_do_not_age_mail(spool: LocalSpool, clock: WallClock) -> None:
    async with running(spool, clock) as office:
        queue = commands(office, clock)
        later = START + 100 * SECOND
        await put(spool, "a.test", state=State.WAITING, not_before=later)
        assert await queue.hold(Selection(destination="a.test")) == 1
        assert await queue.hold(Selection(destination="a.test")) == 0
        clock.forward(1000)
        assert (await queue.destinations())[0].held == 1
        assert await queue.release(Selection()) == 1
        await office.count(1)
        assert office.sent[0].starts_at == later + 1000 * SECOND


async def test_retry_now_makes_mail_due(spool: LocalSpool, clock: WallClock) -> None:
    async with running(spool, clock) as office:
        await put(spool, "a.test", "b.test", state=State.WAITING, not_before=START + 9**9)
        assert await commands(office, clock).retry_now(Selection(destination="a.test")) == 1
        await office.count(1)
        assert office.sent[0].destination == "a.test"


async def test_cancel_ends_mail_with_its_event_wherever_it_waits(
    spool: LocalSpool, clock: WallClock
) -> None:
    async with running(spool, clock, limits=Limits(initial=1, concurrency=1)) as office:
        queue = commands(office, clock)
        office.gate("a.test")
        for _ in range(5):
            await send(office, "a.test", campaign="wrong")
        await put(spool, "b.test", state=State.WAITING, campaign="wrong", not_before=9**18)
        await put(spool, "b.test", state=State.WAITING, campaign="right", not_before=9**18)
        await office.until(lambda: office.open["a.test"] == 1)
        assert await queue.cancel(Selection(campaign="wrong")) == 5  # one is on the wire
        events = [e for b in await spool.batches(0, 999) for e in b.events]
        assert sum(e.startswith(b"cancelled") for e in events) == 5
        (left,) = await queue.waiting(Selection())
        assert left.campaign == "right"


async def test_move_sends_mail_another_way(spool: LocalSpool, clock: WallClock) -> None:
    async with running(spool, clock) as office:
        (moved,) = await put(spool, "a.test", state=State.WAITING, not_before=9**18)
        queue = commands(office, clock)
        assert await queue.move(Selection(destination="a.test"), "smarthost") == 1
        message, (found,) = await queue.show(moved.message)
        assert (message.id, found.destination) == (moved.message, "smarthost")
        ((key, waiting),) = await queue.queues(Selection())
        assert (key.destination, waiting.waiting) == ("smarthost", 1)
        await queue.retry_now(Selection())
        await office.count(1)
        assert (office.sent[0].destination, office.sent[0].recipient_domain) == (
            "smarthost",
            "a.test",
        )


async def test_commands_work_in_steps_on_any_number(spool: LocalSpool, clock: WallClock) -> None:
    for _ in range(25):
        await put(spool, *["a.test"] * 50, state=State.WAITING, not_before=9**18)
    async with running(spool, clock) as office:
        queue = commands(office, clock)
        assert await queue.hold(Selection()) == 1250
        assert await queue.release(Selection(destination="a.test")) == 1250
        assert await queue.cancel(Selection(account=1)) == 1250
        assert await queue.destinations() == []

"""Idle connections are reused within bounds, and forgotten when the server closed them."""

from __future__ import annotations

import asyncio

import pytest

from relay.delivery.deadlines import Deadlines
from relay.delivery.outgoing import Verdict
from relay.delivery.pool import PoolLimits
from relay.delivery.transport import Transport
from tests.harness.outbound import Jobs, MakeTransport, mail_to, route_to
from tests.harness.scripted_mx import ScriptedMx


async def parallel(transport: Transport, mx: ScriptedMx, lanes: int) -> None:
    """Use so many connections at one moment."""
    mx.answer(dot=["hold:250 2.0.0 queued"] * lanes)
    jobs = [Jobs([mail_to()]) for _ in range(lanes)]
    async with asyncio.TaskGroup() as group:
        for one in jobs:
            group.create_task(transport.run(route_to(mx), one.take))
        while len(mx.messages) < lanes:
            mx.arrived.clear()
            await mx.arrived.wait()
        mx.release.set()
    assert {o.verdict for one in jobs for o in one.outcomes} == {Verdict.DELIVERED}


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        (PoolLimits(idle=3), 3),
        (PoolLimits(idle_per_route=2), 2),
        (PoolLimits(idle=0), 0),
        (PoolLimits(messages=1), 0),
        (PoolLimits(age_seconds=-1), 0),
        (PoolLimits(), 6),
    ],
)
async def test_the_pool_keeps_within_its_bounds(
    make_transport: MakeTransport, limits: PoolLimits, kept: int
) -> None:
    """Six connections come back; the rest says QUIT."""
    transport = make_transport(limits=limits)
    async with ScriptedMx() as mx:
        await parallel(transport, mx, 6)
        assert len(transport.pool) == kept
        await mx.heard(b"QUIT", 6 - kept)
        transport.pool.close()
        assert len(transport.pool) == 0


async def test_idle_connections_are_closed_in_time(make_transport: MakeTransport) -> None:
    """After their idle time they say QUIT by themselves."""
    transport = make_transport(limits=PoolLimits(idle_seconds=0.05))
    async with ScriptedMx() as mx:
        await transport.deliver(route_to(mx), mail_to)
        await mx.heard(b"QUIT")
    assert len(transport.pool) == 0


async def test_a_connection_that_the_server_closes_is_forgotten(
    make_transport: MakeTransport,
) -> None:
    """Also one closed with a 421 that nobody asked for."""
    transport = make_transport()
    async with ScriptedMx() as mx:
        mx.answer(dot=b"250 2.0.0 queued\r\n421 4.4.2 idle too long\r\n")
        first = await transport.deliver(route_to(mx), mail_to)
        second = await transport.deliver(route_to(mx), mail_to)
    assert (first.verdict, second.verdict) == (Verdict.DELIVERED, Verdict.DELIVERED)
    assert mx.sessions == 2


async def test_different_routes_share_nothing(make_transport: MakeTransport) -> None:
    """A connection belongs to the route it was opened for."""
    transport = make_transport()
    async with ScriptedMx() as one, ScriptedMx() as other:
        for _ in range(2):
            await transport.deliver(route_to(one), mail_to)
            await transport.deliver(route_to(other), mail_to)
        assert (one.sessions, other.sessions) == (1, 1)
        assert len(transport.pool) == 2


async def test_the_shared_timer_rests_when_nobody_waits() -> None:
    """No connection, no timer."""

    class Someone:
        def __init__(self) -> None:
            self.looked: list[float] = []

        def tick(self, now: float) -> None:
            self.looked.append(now)
            if len(self.looked) == 3:
                deadlines.discard(self)
                over.set()

    over = asyncio.Event()
    deadlines = Deadlines(tick=0.001)
    someone = Someone()
    deadlines.add(someone)
    await over.wait()
    await asyncio.sleep(0.01)
    assert len(someone.looked) == 3
    deadlines.discard(someone)

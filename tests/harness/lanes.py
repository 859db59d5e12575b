"""Dispatch over a real spool, with lanes that write down what they get."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from relay.dispatch.dispatcher import Dispatcher
from relay.dispatch.lanes import Take
from relay.dispatch.limits import DispatchOptions, Feedback, Limits
from relay.message import Delivery, Settlement, State
from relay.shared_table import SharedTable
from relay.spool.local import LocalSpool
from tests.harness.spooled import WallClock, done, message_to

QUICKLY = DispatchOptions(tick=0.01, lingering=0.02)


class Office:
    """Lanes that write down what they get and settle it as told."""

    patience = 20.0  # seconds that are waited for something

    def __init__(self, spool: LocalSpool) -> None:
        self.spool = spool
        self.dispatcher: Dispatcher
        self.sent: list[Delivery] = []
        self.open = Counter[str]()
        self.most = Counter[str]()
        self.gates: dict[str, asyncio.Event] = {}
        self.verdict: Callable[[Delivery], tuple[Settlement, Feedback]] = lambda d: (
            done(d),
            Feedback.GOOD,
        )
        self._changed = asyncio.Event()

    def gate(self, destination: str) -> asyncio.Event:
        """Make a destination wait until the event is set."""
        return self.gates.setdefault(destination, asyncio.Event())

    async def lane(self, destination: str, take: Take) -> None:
        self.open[destination] += 1
        self.most[destination] = max(self.most[destination], self.open[destination])
        try:
            while (delivery := await take()) is not None:
                if destination in self.gates:
                    self._changed.set()
                    await self.gates[destination].wait()
                await self.spool.load(delivery.message)
                settlement, feedback = self.verdict(delivery)
                self.sent.append(delivery)
                self.spool.settle_soon(settlement)
                self.dispatcher.finished(delivery, settlement, feedback)
                self._changed.set()
        finally:
            self.open[destination] -= 1
            self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that lanes bring about."""
        async with asyncio.timeout(self.patience):
            while not condition():
                self._changed.clear()
                waiting = asyncio.ensure_future(self._changed.wait())
                await asyncio.wait((waiting,), timeout=0.05)
                waiting.cancel()

    async def count(self, number: int) -> None:
        """Wait until so many deliveries were sent."""
        await self.until(lambda: len(self.sent) >= number)


@asynccontextmanager
async def running(
    spool: LocalSpool,
    clock: WallClock,
    *,
    options: DispatchOptions = QUICKLY,
    limits: Limits | None = None,
    tally: SharedTable | None = None,
) -> AsyncIterator[Office]:
    office = Office(spool)
    office.dispatcher = Dispatcher(
        spool,
        office.lane,
        clock=clock,
        options=options,
        limits=lambda _: limits or Limits(),
        tally=tally,
    )
    task = asyncio.ensure_future(office.dispatcher.run())
    try:
        yield office
    finally:
        for gate in office.gates.values():
            gate.set()
        await office.dispatcher.stop(5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def send(office: Office, *destinations: str, **words: int | str) -> list[Delivery]:
    """Do what acceptance does."""
    state = State.CLAIMED if office.dispatcher.room(len(destinations)) else State.WAITING
    message, deliveries = message_to(office.spool, *destinations, state=state, **words)  # type: ignore[arg-type]
    await office.spool.accept(message, b"x", deliveries, [])
    if state is State.CLAIMED:
        office.dispatcher.offer(message, deliveries)
    return deliveries

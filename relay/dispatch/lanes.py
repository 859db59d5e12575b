"""The lanes of a dispatcher: tasks that each serve one destination until they are told to end.

Guarantees: a delivery is handed to one lane; what a lane leaves unsettled when it ends is put off,
what made it break is put off and after some attempts held for a person to look at; an idle lane
ends after lingering, so that its connection goes back. No task and no timer per delivery: `sweep`
is called by the dispatcher's one timer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial

from relay.clock import SECOND, Clock
from relay.dispatch.destination import Destination
from relay.dispatch.limits import DispatchOptions
from relay.message import Delivery, Disposition, Settlement
from relay.spool.protocol import DamagedContentError, IllegalMoveError, Spool

log = logging.getLogger(__name__)

Take = Callable[[], Awaitable[Delivery | None]]
Lane = Callable[[str, Take], Awaitable[None]]
"""Serves a destination (its name) with what Take gives, until that is None."""

_FAULTS = 3  # attempts after which mail that breaks our own code is held


class Lanes:
    """All lanes of one dispatcher."""

    def __init__(
        self,
        spool: Spool,
        lane: Lane,
        options: DispatchOptions,
        clock: Clock,
        *,
        hungry: Callable[[], None],
        settled: Callable[[Delivery, Settlement], None],
    ) -> None:
        """`hungry` hears of a lane with nothing to do, `settled` of deliveries settled here."""
        self._spool = spool
        self._lane = lane
        self._options = options
        self._clock = clock
        self._hungry = hungry
        self._settled = settled
        self._tasks: dict[asyncio.Task[None], dict[int, Delivery]] = {}
        self._out: dict[int, tuple[Destination, float, dict[int, Delivery]]] = {}
        self._starved: deque[Destination] = deque()
        self._waiting: set[Destination] = set()  # with a lane that waits
        self._stuck: set[Destination] = set()  # ready, but may not start now
        self.stopping = False

    def __len__(self) -> int:
        """Count the lanes."""
        return len(self._tasks)

    @property
    def under_way(self) -> int:
        """Count the deliveries in the hands of lanes."""
        return len(self._out)

    @property
    def starved(self) -> int:
        """Count the destinations that wait for a lane."""
        return len(self._starved)

    def blocked(self) -> bool:
        """Tell whether the spool is too far behind with settlements."""
        return self._spool.settling >= self._options.settling

    def serve(self, destination: Destination) -> None:
        """Hand what is ready to lanes that wait, or start one more lane."""
        now = time.monotonic()
        ready, waiters = destination.ready, destination.waiters
        if not destination.is_open(now) or self.blocked():
            self._stuck.add(destination)
            return
        while ready.size and waiters:
            if waiters[-1][1].done():
                waiters.pop()
            elif not destination.take_token(now):
                self._stuck.add(destination)
                return
            else:  # the lane that was busy last: the others may end
                waiters.pop()[1].set_result(ready.pop())
        if ready.size and destination.may_add_lane():
            self._start(destination)
        elif ready.size and not destination.lanes:
            destination.group.waiting[destination] = None
            self._stuck.add(destination)

    def end(self, delivery: Delivery) -> tuple[Destination, float] | None:
        """Take a settled delivery from its lane; gives its destination and when it was begun."""
        known = self._out.pop(delivery.id, None)
        if known is None:
            return None
        destination, started, mine = known
        del mine[delivery.id]
        destination.out -= 1
        return destination, started

    def sweep(self, now: float) -> None:
        """End lanes that lingered, and serve what may start by now."""
        for destination in list(self._waiting):
            waiters = destination.waiters
            while waiters and (waiters[0][0] <= now or self.stopping):
                _, waiter = waiters.popleft()
                if not waiter.done():
                    waiter.set_result(None)
            if not waiters:
                self._waiting.discard(destination)
        for destination in list(self._stuck):
            self._stuck.discard(destination)
            if destination.ready:
                self.serve(destination)

    async def stop(self, patience: float) -> None:
        """Let lanes end what they have, and break off after `patience` seconds."""
        self.stopping = True
        self.sweep(time.monotonic())
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=patience)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- one lane --------------------------------------------------------------------------

    def _start(self, destination: Destination) -> None:
        options = self._options
        most = options.lanes if destination.quick else int(options.lanes * options.unproven)
        if self.stopping or len(self._tasks) >= max(most, 1):
            if not destination.starved:
                destination.starved = True
                self._starved.append(destination)
                self._end_an_idle_lane()
            return
        mine: dict[int, Delivery] = {}
        destination.group.waiting.pop(destination, None)
        destination.lane_started()
        task = asyncio.get_running_loop().create_task(self._run(destination, mine))
        self._tasks[task] = mine
        task.add_done_callback(partial(self._ended, destination))

    def _end_an_idle_lane(self) -> None:
        """Make room for a destination that has something to send."""
        while self._waiting:
            destination = next(iter(self._waiting))
            while destination.waiters:
                _, waiter = destination.waiters.popleft()
                if not waiter.done():
                    waiter.set_result(None)
                    return
            self._waiting.discard(destination)

    async def _run(self, destination: Destination, mine: dict[int, Delivery]) -> None:
        taken = 0
        last: Delivery | None = None

        async def take() -> Delivery | None:
            nonlocal taken, last
            if self.stopping or self._makes_room(destination, taken):
                return None
            delivery = self._next(destination) or await self._wait(destination)
            if delivery is not None:
                taken += 1
                last = delivery
                mine[delivery.id] = delivery
                self._out[delivery.id] = (destination, time.monotonic(), mine)
                destination.out += 1
            return delivery

        try:
            await self._lane(destination.name, take)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # a lane's border: mail that breaks our code is kept
            log.exception("a lane of %s broke", destination.name)
            if last is not None and last.id in mine:
                self._set_aside(last, error)
            elif not taken:  # it would break again and again
                destination.rest(time.monotonic())

    def _makes_room(self, destination: Destination, taken: int) -> bool:
        """Tell whether a lane should end for others: it had its turn, or its group has too many."""
        group = destination.group
        if taken and group.lanes > destination.limits.concurrency:
            return True
        return taken >= self._options.turn and bool(self._starved or group.waiting)

    def _next(self, destination: Destination) -> Delivery | None:
        """Give a delivery that may start now."""
        now = time.monotonic()
        if not destination.ready.size or not destination.is_open(now) or self.blocked():
            return None
        return destination.ready.pop() if destination.take_token(now) else None

    async def _wait(self, destination: Destination) -> Delivery | None:
        """Wait for a delivery for as long as an idle lane may linger."""
        if (self._starved or destination.group.waiting) and not destination.ready.size:
            self._hungry()
            return None
        waiter: asyncio.Future[Delivery | None] = asyncio.get_running_loop().create_future()
        destination.waiters.append((time.monotonic() + self._options.lingering, waiter))
        self._waiting.add(destination)
        if destination.ready.size:
            self._stuck.add(destination)
        else:
            self._hungry()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and (unused := waiter.result()):
                destination.ready.push(unused)
            raise

    def _ended(self, destination: Destination, task: asyncio.Task[None]) -> None:
        left = self._tasks.pop(task)
        destination.lane_ended()
        for delivery in list(left.values()):
            self._set_aside(delivery, None)
        while self._starved and not self.stopping:
            next_one = self._starved.popleft()
            next_one.starved = False
            if next_one.ready:
                self.serve(next_one)
                break
        for next_one in list(destination.group.waiting)[:1]:
            del destination.group.waiting[next_one]  # it comes back where there is still no room
            self.serve(next_one)
        if destination.ready and not destination.starved:
            self.serve(destination)

    def _set_aside(self, delivery: Delivery, error: Exception | None) -> None:
        """Settle what a lane left unsettled: later, or held for a person after some attempts."""
        attempt = delivery.attempt + 1
        hold = isinstance(error, DamagedContentError) or attempt >= _FAULTS
        settlement = Settlement(
            delivery=delivery.id,
            message=delivery.message,
            disposition=Disposition.HOLD if hold and error is not None else Disposition.RETRY,
            not_before=self._clock() + int(self._options.retry_first * SECOND),
            attempt=attempt,
            last_reply=("broken off" if error is None else f"set aside: {error}")[:500],
            ambiguous=error is None,
        )
        with contextlib.suppress(IllegalMoveError):  # settled, but `finished` was not called
            self._spool.settle_soon(settlement)
        self._settled(delivery, settlement)

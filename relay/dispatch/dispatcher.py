"""Gives due deliveries to lanes: a bounded window on a backlog of any length.

Guarantees: never more than the window is claimed; a fresh delivery goes from acceptance to a lane
without touching the spool again; one destination, account or campaign does not hold up another; no
task and no timer per delivery. A lane is a task that serves one destination: it asks for the next
delivery until it gets None. Whoever runs a lane settles each delivery in the spool and then calls
`finished`; what a lane leaves behind when it ends or breaks is put back or set aside here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from relay.clock import SECOND, Clock
from relay.dispatch.destination import Destination
from relay.dispatch.limits import NO_LIMITS, DispatchOptions, Feedback, Limits
from relay.dispatch.picking import pick
from relay.message import Delivery, Disposition, Message, Settlement
from relay.spool.protocol import DamagedContentError, IllegalMoveError, QueueKey, Spool

log = logging.getLogger(__name__)

Take = Callable[[], Awaitable[Delivery | None]]
Lane = Callable[[str, Take], Awaitable[None]]
"""Serves a destination (its name) with what Take gives, until that is None."""

_DUE = 500  # queues asked for at once
_LONG_PAUSE = 5.0  # seconds above which what is ready for a paused destination goes back
_FAULTS = 3  # attempts after which mail that breaks our own code is held
_LOOK = 5.0  # seconds after which the spool is asked even if nothing is known to be due


class Dispatcher:
    """Dispatch for one spool. All methods belong to the event loop's thread."""

    def __init__(
        self,
        spool: Spool,
        lane: Lane,
        *,
        clock: Clock,
        limits: Callable[[str], Limits] = lambda _: NO_LIMITS,
        options: DispatchOptions | None = None,
    ) -> None:
        """`limits` gives the bounds of a destination when it is first met."""
        self._spool = spool
        self._lane = lane
        self._clock = clock
        self._limits = limits
        self._options = options or DispatchOptions()
        self._destinations: OrderedDict[str, Destination] = OrderedDict()
        self._lanes: dict[asyncio.Task[None], dict[int, Delivery]] = {}
        self._out: dict[int, tuple[Destination, float, dict[int, Delivery]]] = {}
        self._starved: deque[Destination] = deque()
        self._waiting: set[Destination] = set()  # with a lane that waits
        self._stuck: set[Destination] = set()  # ready, but may not start now
        self._resting: set[Destination] = set()  # paused by their own replies
        self._active: set[Destination] = set()  # something is claimed for them
        self._held = 0  # deliveries claimed by us
        self._claiming = 0  # deliveries being claimed
        self._next_due = 0  # when the spool has more, microseconds
        self._looked = -_LOOK
        self._wake = asyncio.Event()
        self._paused: Callable[[QueueKey], bool] | None = None
        self._stopping = False

    # -- acceptance ------------------------------------------------------------------------

    def room(self, deliveries: int) -> bool:
        """Say whether so many new deliveries may start CLAIMED, in dispatch's memory."""
        if self._stopping or self._free() < deliveries:
            self._due_at(0)  # they wait in the spool, due at once
            return False
        return True

    def offer(self, message: Message, deliveries: Sequence[Delivery]) -> None:
        """Take over deliveries that were stored as CLAIMED."""
        for delivery in deliveries:
            destination = self._destination(delivery.destination)
            self._held += 1
            if self._stopping or not self._welcome(destination, delivery):
                self._give_back(delivery)
                self._due_at(0)
            else:
                self._ready(destination, delivery)

    def _welcome(self, destination: Destination, delivery: Delivery) -> bool:
        if destination.held >= max(destination.share, self._options.share):
            return False
        if destination.paused_until > self._now() + _LONG_PAUSE:
            return False
        return self._paused is None or not self._paused(key_of(delivery))

    # -- lanes -----------------------------------------------------------------------------

    def finished(
        self,
        delivery: Delivery,
        settlement: Settlement,
        feedback: Feedback = Feedback.NEUTRAL,
        pause: float = 0.0,
    ) -> None:
        """Hear that a lane has settled a delivery; `pause` is what the remote asked for, seconds.

        Call it after `Spool.settle_soon`, once for each delivery taken.
        """
        known = self._out.pop(delivery.id, None)
        if known is None:
            return
        destination, started, lane = known
        del lane[delivery.id]
        destination.out -= 1
        self._held -= 1
        now = self._now()
        destination.note(feedback, now - started, now, pause)
        if not destination.is_open(now) and destination not in self._resting:
            self._rest(destination, now)
        elif destination.ready:
            self._serve(destination)
        if not destination.held:
            self._active.discard(destination)
        if settlement.disposition is Disposition.RETRY:
            self._due_at(settlement.not_before)
        if self._next_due <= self._clock() and len(destination.ready) <= destination.share // 4:
            self._wake.set()

    def _ready(self, destination: Destination, delivery: Delivery) -> None:
        destination.ready.push(delivery)
        self._active.add(destination)
        self._serve(destination)

    def _serve(self, destination: Destination) -> None:
        """Hand what is ready to lanes that wait, or start one more lane."""
        now = self._now()
        ready, waiters = destination.ready, destination.waiters
        if not destination.is_open(now) or self._blocked():
            self._stuck.add(destination)
            return
        while ready and waiters:
            _, waiter = waiters.pop()  # the lane that was busy last: the others may end
            if waiter.done():
                continue
            if not destination.take_token(now):
                waiters.append((_, waiter))
                self._stuck.add(destination)
                return
            waiter.set_result(ready.pop())
        if not ready:
            self._stuck.discard(destination)
        elif destination.may_add_lane():
            self._start_lane(destination)

    def _start_lane(self, destination: Destination) -> None:
        options = self._options
        most = options.lanes if destination.quick else int(options.lanes * options.unproven)
        if self._stopping or len(self._lanes) >= max(most, 1):
            if not destination.starved:
                destination.starved = True
                self._starved.append(destination)
            return
        mine: dict[int, Delivery] = {}
        destination.lanes += 1
        task = asyncio.get_running_loop().create_task(self._run_lane(destination, mine))
        self._lanes[task] = mine
        task.add_done_callback(partial(self._lane_ended, destination))

    async def _run_lane(self, destination: Destination, mine: dict[int, Delivery]) -> None:
        taken = 0
        last: Delivery | None = None

        async def take() -> Delivery | None:
            nonlocal taken, last
            if self._stopping or (self._starved and taken >= self._options.turn):
                return None
            delivery = self._take(destination) or await self._wait(destination)
            if delivery is not None:
                taken += 1
                last = delivery
                mine[delivery.id] = delivery
                self._out[delivery.id] = (destination, self._now(), mine)
                destination.out += 1
            return delivery

        try:
            await self._lane(destination.name, take)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("a lane of %s broke", destination.name)
            if last is not None and last.id in mine:
                self._set_aside(last, error)
            elif not taken:  # it would break again and again
                destination.rest(self._now())

    def _take(self, destination: Destination) -> Delivery | None:
        """Give a delivery that may start now."""
        now = self._now()
        if not destination.ready or not destination.is_open(now) or self._blocked():
            return None
        if not destination.take_token(now):
            self._stuck.add(destination)
            return None
        return destination.ready.pop()

    async def _wait(self, destination: Destination) -> Delivery | None:
        """Wait for a delivery for as long as an idle lane may linger."""
        waiter: asyncio.Future[Delivery | None] = asyncio.get_running_loop().create_future()
        destination.waiters.append((self._now() + self._options.lingering, waiter))
        self._waiting.add(destination)
        if destination.ready:
            self._stuck.add(destination)
        elif self._next_due <= self._clock():
            self._wake.set()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and (unused := waiter.result()):
                destination.ready.push(unused)
            raise

    def _lane_ended(self, destination: Destination, task: asyncio.Task[None]) -> None:
        left = self._lanes.pop(task)
        destination.lanes -= 1
        for delivery in list(left.values()):
            self._set_aside(delivery, None)
        while self._starved and not self._stopping:
            next_one = self._starved.popleft()
            next_one.starved = False
            if next_one.ready:
                self._serve(next_one)
                break
        if destination.ready and not destination.starved:
            self._serve(destination)

    def _set_aside(self, delivery: Delivery, error: Exception | None) -> None:
        """Settle what a lane left unsettled: later, or held for a person after some attempts."""
        attempt = delivery.attempt + 1
        hold = isinstance(error, DamagedContentError) or attempt >= _FAULTS
        why = f"set aside: {error}" if error is not None else "broken off"
        settlement = Settlement(
            delivery=delivery.id,
            message=delivery.message,
            disposition=Disposition.HOLD if hold and error is not None else Disposition.RETRY,
            not_before=self._clock() + int(self._options.retry_first * SECOND),
            attempt=attempt,
            last_reply=why[:500],
            ambiguous=error is None,
        )
        with contextlib.suppress(IllegalMoveError):  # settled, and only not finished
            self._spool.settle_soon(settlement)
        self.finished(delivery, settlement)

    # -- the window ------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the window filled until cancelled; raises StorageError when the spool fails."""
        loop = asyncio.get_running_loop()
        while True:
            await self._fill()
            timer = loop.call_later(self._options.tick, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()
            self._wake.clear()
            self._sweep()

    async def _fill(self) -> None:
        """Claim what is due, for destinations that have room for it."""
        now = self._clock()
        if self._next_due > now and self._now() - self._looked < _LOOK:
            return
        room = self._free()
        if self._stopping or self._blocked() or room < max(self._options.window // 20, 1):
            return
        full = {d.name for d in self._active if d.held > d.share // 2}
        full.update(d.name for d in self._resting)
        due = await self._spool.due(now, _DUE, full)
        self._looked = self._now()
        picks = pick(due.queues, room, self._allowance)
        self._next_due = due.later or now + int(_LOOK * SECOND)
        if full or len(due.queues) >= _DUE:
            self._next_due = 0
        if not picks:
            return
        self._claiming = sum(count for _, count in picks)
        try:
            claimed = await self._spool.claim(picks, now)
        finally:
            self._claiming = 0
        if len(claimed) < sum(queue.waiting for queue in due.queues):
            self._next_due = 0
        for destination in {self._destination(d.destination) for d in claimed}:
            if not destination.ready:
                destination.ran_dry()
        for delivery in claimed:
            self._held += 1
            self._ready(self._destination(delivery.destination), delivery)

    def _allowance(self, name: str) -> int:
        destination = self._destination(name)
        unproven = self._options.window * self._options.unproven
        if not destination.quick and self._held >= unproven:
            return 0
        return destination.share - destination.held

    def _sweep(self) -> None:
        """Do what time brings: idle lanes end, pauses end, rates allow more."""
        now = self._now()
        for destination in list(self._waiting):
            waiters = destination.waiters
            while waiters and (waiters[0][0] <= now or self._stopping):
                _, waiter = waiters.popleft()
                if not waiter.done():
                    waiter.set_result(None)
            if not waiters:
                self._waiting.discard(destination)
        for destination in [d for d in self._resting if d.is_open(now)]:
            self._resting.discard(destination)
            self._due_at(0)
        for destination in list(self._stuck):
            self._stuck.discard(destination)
            if destination.ready:
                self._serve(destination)
        while len(self._destinations) > self._options.destinations:
            name, oldest = self._destinations.popitem(last=False)
            if not oldest.is_idle():
                self._destinations[name] = oldest
                break

    def _rest(self, destination: Destination, now: float) -> None:
        """Give back what is ready for a destination that is paused for long."""
        self._resting.add(destination)
        if destination.paused_until > now + _LONG_PAUSE:
            for delivery in destination.ready.take_out(lambda _: True):
                self._give_back(delivery)
        else:
            self._stuck.add(destination)

    # -- an operator's hand ----------------------------------------------------------------

    async def pause(self, paused: Callable[[QueueKey], bool]) -> None:
        """Say what must not be sent from now on; what is under way already is not stopped."""
        self._paused = paused
        for delivery in self.withdraw(lambda d: paused(key_of(d))):
            self._give_back(delivery)
        await self._spool.pause(paused)
        self._due_at(0)

    def withdraw(self, wanted: Callable[[Delivery], bool]) -> list[Delivery]:
        """Take back deliveries that no lane has; they stay claimed, by the caller."""
        taken: list[Delivery] = []
        for destination in list(self._active):
            taken += destination.ready.take_out(wanted)
            if not destination.held:
                self._active.discard(destination)
        self._held -= len(taken)
        return taken

    def look(self) -> None:
        """Look into the spool soon: something may have become due."""
        self._due_at(0)

    async def stop(self, patience: float) -> None:
        """Give back what no lane has, let lanes end what they have, break off after `patience`."""
        self._stopping = True
        for delivery in self.withdraw(lambda _: True):
            self._held += 1
            self._give_back(delivery)
        self._sweep()
        if self._lanes:
            await asyncio.wait(set(self._lanes), timeout=patience)
        for task in list(self._lanes):
            task.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)

    def status(self) -> dict[str, int]:
        """Give the numbers an operator wants to see."""
        return {
            "claimed": self._held,
            "under_way": len(self._out),
            "lanes": len(self._lanes),
            "destinations": len(self._destinations),
            "paused_destinations": len(self._resting),
            "starved_destinations": len(self._starved),
        }

    # -- small things ----------------------------------------------------------------------

    def _destination(self, name: str) -> Destination:
        found = self._destinations.get(name)
        if found is None:
            found = Destination(name, self._limits(name), self._options, self._now())
            self._destinations[name] = found
        else:
            self._destinations.move_to_end(name)
        return found

    def _give_back(self, delivery: Delivery) -> None:
        self._held -= 1
        self._spool.settle_soon(
            Settlement(
                delivery=delivery.id, message=delivery.message, disposition=Disposition.RETURN
            )
        )

    def _free(self) -> int:
        return self._options.window - self._held - self._claiming

    def _blocked(self) -> bool:
        return self._spool.settling >= self._options.settling

    def _due_at(self, when: int) -> None:
        if when < self._next_due:
            self._next_due = when
            if when <= self._clock():
                self._wake.set()

    @staticmethod
    def _now() -> float:
        return time.monotonic()


def key_of(delivery: Delivery) -> QueueKey:
    """Give the queue a delivery belongs to."""
    return QueueKey(
        delivery.destination,
        delivery.account,
        delivery.campaign,
        delivery.sending_domain,
        delivery.priority,
    )

"""Gives due deliveries to lanes: a bounded window on a backlog of any length.

Guarantees: never more than the window is claimed; a fresh delivery goes from acceptance to a lane
without touching the spool again; one destination, account or campaign does not hold up another; no
task and no timer per delivery. A lane is a task that serves one destination: it asks for the next
delivery until it gets None. Whoever runs a lane settles each delivery in the spool and then calls
`finished`; what a lane leaves behind when it ends or breaks is put back or set aside here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

from relay.clock import SECOND, Clock
from relay.dispatch.clock_jumps import JumpWatch, brought_near
from relay.dispatch.destination import Destination
from relay.dispatch.groups import Group, Tally
from relay.dispatch.lanes import Lane, Lanes
from relay.dispatch.limits import NO_LIMITS, DispatchOptions, Feedback, Limits
from relay.dispatch.picking import key_of, pick
from relay.ids import made_at
from relay.message import Delivery, Disposition, Message, Settlement
from relay.spool.protocol import QueueKey, Selection, Spool

log = logging.getLogger(__name__)

_DUE = 200  # queues asked for at once
_CLAIM = 500  # deliveries claimed at once: a commit that mail in the same group waits for
_LONG_PAUSE = 5.0  # seconds above which what is ready for a paused destination goes back
_SET_BACK = 60 * SECOND
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
        tally: Tally | None = None,
    ) -> None:
        """`limits` gives the bounds of a destination when it is first met.

        `tally` makes them hold for all workers together.
        """
        self._spool = spool
        self._clock = clock
        self._limits = limits
        self._options = options or DispatchOptions()
        self._tally = tally
        self._lanes = Lanes(
            spool, lane, self._options, clock, hungry=self._hungry, settled=self.finished
        )
        self._destinations: OrderedDict[str, Destination] = OrderedDict()
        self._groups: WeakValueDictionary[str, Group] = WeakValueDictionary()
        self._resting: set[Destination] = set()  # paused by their own replies
        self._active: set[Destination] = set()  # something is claimed for them
        self._held = 0  # deliveries claimed by us
        self._claiming = 0  # deliveries being claimed
        self._next_due = 0  # when the spool has more, microseconds
        self._looked = -_LOOK
        self._wake = asyncio.Event()
        self._paused: Callable[[QueueKey], bool] | None = None

    # -- acceptance ------------------------------------------------------------------------

    def room(self, deliveries: int, destination: str = "") -> bool:
        """Say whether so many new deliveries may start CLAIMED, in dispatch's memory.

        With a destination the answer counts what is held for that one, which saves taking in what
        `offer` would give back.
        """
        full = self._lanes.stopping or self._free() < deliveries
        if not full and destination:
            full = not self._has_place(self._destination(destination))
        if full:
            self._due_at(0)  # they wait in the spool, due at once
        return not full

    def offer(self, message: Message, deliveries: Sequence[Delivery]) -> None:
        """Take over deliveries that were stored as CLAIMED."""
        for delivery in deliveries:
            destination = self._destination(delivery.destination)
            self._held += 1
            if self._lanes.stopping or not self._welcome(destination, delivery):
                self._give_back(delivery)
                self._due_at(0)
            else:
                self._ready(destination, delivery)

    def _welcome(self, destination: Destination, delivery: Delivery) -> bool:
        if not self._has_place(destination):
            return False
        return self._paused is None or not self._paused(key_of(delivery))

    def _has_place(self, destination: Destination) -> bool:
        options = self._options
        if destination.paused_until > time.monotonic() + _LONG_PAUSE:
            return False
        if not destination.quick and self._held > options.window * options.unproven:
            return False
        share = max(destination.share, options.share, options.window // 10)
        return destination.held < share

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
        known = self._lanes.end(delivery)
        if known is None:
            return
        destination, started = known
        self._held -= 1
        now = time.monotonic()
        destination.note(feedback, now - started, now, pause)
        if not destination.is_open(now) and destination not in self._resting:
            self._rest(destination, now)
        elif destination.ready.size:
            self._lanes.serve(destination)
        if not destination.held:
            self._active.discard(destination)
        if settlement.disposition is Disposition.RETRY:
            self._due_at(settlement.not_before)
        if destination.ready.size <= destination.share // 4:
            self._hungry()

    def _hungry(self) -> None:
        if self._next_due <= self._clock():
            self._wake.set()

    def _ready(self, destination: Destination, delivery: Delivery) -> None:
        destination.ready.push(delivery)
        self._active.add(destination)
        self._lanes.serve(destination)

    def relimit(self, name: str) -> None:
        """Ask again for the limits of a destination, which may have another group by now."""
        destination = self._destinations.get(name)
        if destination is None:
            return
        limits = self._limits(name)
        if limits != destination.limits:
            destination.join(self._group(limits.group or name), limits)

    def rest(self, name: str, seconds: float) -> None:
        """Begin nothing for a destination for so long: the reason lies with us."""
        now, destination = time.monotonic(), self._destination(name)
        destination.paused_until = max(destination.paused_until, now + seconds)
        self._rest(destination, now)

    # -- the window ------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the window filled until cancelled; raises StorageError when the spool fails."""
        loop = asyncio.get_running_loop()
        watch = JumpWatch(self._clock)
        if made_at(self._spool.take_ids(1)) > self._clock() + _SET_BACK:
            await self._bring_near()  # the clock was set back while nobody looked
        while True:
            await self._fill()
            timer = loop.call_later(self._options.tick, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()
            self._wake.clear()
            self._sweep()
            if watch.jumped() < 0:
                await self._bring_near()

    async def _bring_near(self) -> None:
        """Make due times sensible again after the wall clock was set back."""
        now, longest = self._clock(), int(self._options.longest_retry * SECOND)
        count = await self._spool.change(Selection(), lambda d: brought_near(d, now, longest))
        log.warning("the clock was set back; %d deliveries are due earlier for it", count)
        self._due_at(0)

    async def _fill(self) -> None:
        """Claim what is due, for destinations that have room for it."""
        now = self._clock()
        if self._next_due > now and time.monotonic() - self._looked < _LOOK:
            return
        room = self._free()
        if (
            self._lanes.stopping
            or self._lanes.blocked()
            or room < max(self._options.window // 20, 1)
        ):
            return
        full = {d.name for d in self._active if d.held > d.share // 2}
        full.update(d.name for d in self._resting)
        due = await self._spool.due(now, _DUE, full)
        self._looked = time.monotonic()
        picks = pick(due.queues, min(room, _CLAIM), self._allowance)
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
        if claimed and not self._next_due:
            self._wake.set()

    def _allowance(self, name: str) -> int:
        destination = self._destination(name)
        unproven = self._options.window * self._options.unproven
        if not destination.quick and self._held >= unproven:
            return 0
        return destination.share - destination.held

    def _sweep(self) -> None:
        """Do what time brings: idle lanes end, pauses end, rates allow more."""
        now = time.monotonic()
        for destination in [d for d in self._resting if d.is_open(now)]:
            self._resting.discard(destination)
            self._lanes.serve(destination)
            self._due_at(0)
        self._lanes.sweep(now)
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

    # -- an operator's hand ----------------------------------------------------------------

    async def pause(self, paused: Callable[[QueueKey], bool] | None) -> None:
        """Say what must not be sent from now on (None: nothing); what is under way already is not
        stopped.
        """
        self._paused = paused
        if paused is not None:
            for delivery in self.withdraw(lambda d: paused(key_of(d))):
                self._return(delivery)
        await self._spool.pause(paused or (lambda _: False))
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
        self._lanes.stopping = True
        for delivery in self.withdraw(lambda _: True):
            self._return(delivery)
        await self._lanes.stop(patience)

    def status(self) -> dict[str, int]:
        """Give the numbers an operator wants to see."""
        return {
            "claimed": self._held,
            "under_way": self._lanes.under_way,
            "lanes": len(self._lanes),
            "destinations": len(self._destinations),
            "paused_destinations": len(self._resting),
            "starved_destinations": self._lanes.starved,
        }

    # -- small things ----------------------------------------------------------------------

    def _destination(self, name: str) -> Destination:
        found = self._destinations.get(name)
        if found is None:
            limits, now = self._limits(name), time.monotonic()
            group = self._group(limits.group or name)
            found = Destination(name, limits, self._options, now, group=group)
            self._destinations[name] = found
        else:
            self._destinations.move_to_end(name)
        return found

    def _group(self, name: str) -> Group:
        found = self._groups.get(name)
        if found is None:
            found = self._groups[name] = Group(name, time.monotonic(), self._tally)
        return found

    def _give_back(self, delivery: Delivery) -> None:
        self._held -= 1
        self._return(delivery)

    def _return(self, delivery: Delivery) -> None:
        self._spool.settle_soon(
            Settlement(
                delivery=delivery.id, message=delivery.message, disposition=Disposition.RETURN
            )
        )

    def _free(self) -> int:
        return self._options.window - self._held - self._claiming

    def _due_at(self, when: int) -> None:
        if when < self._next_due:
            self._next_due = when
            if when <= self._clock():
                self._wake.set()

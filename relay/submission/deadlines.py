"""One timer for all connections of a door.

A connection does not arm a timer per command: it keeps its own deadline as a number and is looked
at now and then. Looking costs nothing while nothing happens, and a message costs no timer at all. A
deadline is noticed at most one `tick` late.
"""

import asyncio
from typing import Protocol


class Timed(Protocol):
    """What can be looked at."""

    def look(self, now: float) -> float | None:
        """Act on deadlines that have passed; give the time of the next look, None for never."""
        ...


class DeadlineWheel:
    """Looks at each item when its time has come. Items are looked at by identity."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tick: float = 1.0) -> None:
        """`tick`: seconds between two turns of the wheel."""
        self._loop = loop
        self._tick = tick
        self._slots: dict[int, set[Timed]] = {}
        self._slot_of: dict[Timed, int] = {}
        self._handle: asyncio.TimerHandle | None = None
        self._turned = 0

    def watch(self, item: Timed, at: float) -> None:
        """Look at `item` at the loop time `at`, instead of any earlier arrangement."""
        self.forget(item)
        slot = max(int(at / self._tick) + 1, self._turned + 1)
        self._slots.setdefault(slot, set()).add(item)
        self._slot_of[item] = slot
        if self._handle is None:
            self._turned = int(self._loop.time() / self._tick)
            self._handle = self._loop.call_later(self._tick, self._turn)

    def forget(self, item: Timed) -> None:
        """Never look at `item` again."""
        slot = self._slot_of.pop(item, None)
        if slot is None:
            return
        items = self._slots[slot]
        items.discard(item)
        if not items:
            del self._slots[slot]

    def stop(self) -> None:
        """Forget everything."""
        self._slots.clear()
        self._slot_of.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _turn(self) -> None:
        now = self._loop.time()
        reached = int(now / self._tick)
        # The clock may have jumped over many slots; only those that exist are visited.
        due = [slot for slot in self._slots if slot <= reached]
        self._turned = reached
        self._handle = None
        for slot in sorted(due):
            for item in self._slots.pop(slot, set()):
                self._slot_of.pop(item, None)
                again = item.look(now)
                if again is not None:
                    self.watch(item, again)
        if self._slots and self._handle is None:
            self._handle = self._loop.call_later(self._tick, self._turn)

"""A queue that serves its parties in turn: one delivery of each, higher priorities first.

Costs the same however many parties there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from relay.message import Delivery

Party = tuple[int, str]  # account and campaign


class FairQueue:
    """Deliveries of one destination, ready to go."""

    __slots__ = ("_levels", "size")

    def __init__(self) -> None:
        """Start empty."""
        self.size = 0  # what len() says, for those who ask often
        self._levels: list[tuple[int, dict[Party, deque[Delivery]], deque[Party]]] = []

    def __len__(self) -> int:
        """Count the deliveries."""
        return self.size

    def push(self, delivery: Delivery) -> None:
        """Put a delivery behind its party's others."""
        _, parties, turns = self._level(delivery.priority)
        party = (delivery.account, delivery.campaign)
        queue = parties.get(party)
        if queue is None:
            parties[party] = deque((delivery,))
            turns.append(party)
        else:
            queue.append(delivery)
        self.size += 1

    def pop(self) -> Delivery | None:
        """Take the next delivery; None when there is none."""
        while self._levels:
            _, parties, turns = self._levels[0]
            if not turns:
                del self._levels[0]
                continue
            party = turns.popleft()
            queue = parties[party]
            delivery = queue.popleft()
            if queue:
                turns.append(party)
            else:
                del parties[party]
            self.size -= 1
            return delivery
        return None

    def take_out(self, wanted: Callable[[Delivery], bool]) -> list[Delivery]:
        """Remove and give every delivery that is wanted."""
        everything = []
        while (delivery := self.pop()) is not None:
            everything.append(delivery)
        for delivery in everything:
            if not wanted(delivery):
                self.push(delivery)
        return [delivery for delivery in everything if wanted(delivery)]

    def _level(self, priority: int) -> tuple[int, dict[Party, deque[Delivery]], deque[Party]]:
        for at, level in enumerate(self._levels):
            if level[0] == priority:
                return level
            if level[0] < priority:
                self._levels.insert(at, (priority, {}, deque()))
                return self._levels[at]
        self._levels.append((priority, {}, deque()))
        return self._levels[-1]

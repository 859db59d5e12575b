"""Which local address a lane sends from: pools, in turn, and a daily cap for addresses that are
new.

Receivers distrust an address that they never saw; it has to earn its name with little mail first.
An address that warms up takes `DAILY` mails on its day n and no limit afterwards; what it may not
take goes by the other addresses of its pool, or waits. Mails begun are counted, refused ones too.
With a tally the count is that of all workers; it lives in a file beside the sockets, so it outlasts
a restart of the relay, and a restart of the machine begins the day anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

DAILY = tuple(round(50 * 1.5**day, -1 if day < 10 else -3) for day in range(30))
"""Mails by day: 50, then half as many again each day, to some six million on the thirtieth day.

No receiver publishes a plan. This one is ours, on the careful side of what large senders advise
(doubling every day or two); it was last looked at on 2026-11-20.
"""

_DAY = 86_400.0


class Tally(Protocol):
    """Counts shared by the workers."""

    def add(self, key: bytes, amount: int = 1, *, lifetime: float = 0.0) -> None:
        """Add; with a lifetime the count is forgotten that many seconds later."""
        ...

    def sub(self, key: bytes, amount: int = 1) -> None:
        """Take away."""
        ...

    def sum(self, key: bytes) -> int:
        """Give the number now."""
        ...


@dataclass(slots=True, kw_only=True)
class Sources:
    """The addresses of this node. The pool "" is the one of mail that names none."""

    pools: Mapping[str, tuple[str, ...]]
    warming: Mapping[str, date]  # the first day of its plan
    tally: Tally
    today: Callable[[], date]
    _turn: dict[str, int] = field(default_factory=dict)

    def count(self, pool: str) -> int:
        """Give the number of addresses of a pool, at least one: any."""
        return len(self._of(pool))

    def choose(self, pool: str) -> str | None:
        """Give an address that may send now ("" for any), None when all have had their day."""
        addresses = self._of(pool)
        turn = self._turn.get(pool, 0)
        for step in range(len(addresses)):
            address = addresses[(turn + step) % len(addresses)]
            if self.left(address) > 0:
                self._turn[pool] = (turn + step + 1) % len(addresses)
                return address
        return None

    def left(self, address: str) -> float:
        """Give how many mails an address may still begin today."""
        cap = self.cap(address)
        return cap if cap == float("inf") else cap - self.tally.sum(self._key(address))

    def cap(self, address: str) -> float:
        """Give how many mails an address may begin today."""
        first = self.warming.get(address)
        if first is None:
            return float("inf")
        day = (self.today() - first).days
        if day < 0:
            return 0.0  # its plan has not begun
        return DAILY[day] if day < len(DAILY) else float("inf")

    def reserve(self, address: str) -> bool:
        """Count one mail if the address may begin it."""
        left = self.left(address)
        if left == float("inf"):
            return True
        if left < 1:
            return False
        self.tally.add(self._key(address), lifetime=2 * _DAY)
        return True

    def give_back(self, address: str) -> None:
        """Take back a reservation that was not used."""
        if self.cap(address) != float("inf"):
            self.tally.sub(self._key(address))

    def _of(self, pool: str) -> tuple[str, ...]:
        return self.pools.get(pool) or self.pools.get("") or ("",)

    def _key(self, address: str) -> bytes:
        return f"sent:{address}:{self.today().isoformat()}".encode()

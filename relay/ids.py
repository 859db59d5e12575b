"""Ids of messages and deliveries: 63-bit integers that grow with time and need nobody's permission.

Layout, from the top: 32 bits of seconds since 2020-01-01, 11 bits naming the spool, 20 bits
counting within the second. Two spools never give the same id; one spool never gives an id twice:
each start takes a second of its own, after the highest id stored and the present moment
(`fresh_start`), so that neither a clock that is set back nor ids that a crash left unstored matter.
As text an id is 13 characters of lower-case base32 (RFC 4648).
"""

from __future__ import annotations

import base64
import threading
from functools import lru_cache

from relay.clock import Clock, now
from relay.mail import base32

_EPOCH_SECONDS = 1_577_836_800  # 2020-01-01T00:00:00Z
_COUNTER_BITS = 20
_SPOOL_BITS = 11
MAX_SPOOL_NUMBER = (1 << _SPOOL_BITS) - 1


class IdSource:
    """Gives ids for one spool; safe to call from any thread."""

    def __init__(self, spool_number: int, *, above: int = 0, clock: Clock = now) -> None:
        """Start above the id `above`.

        `spool_number` is 0-2047 and unique among the spools that share a ledger.
        """
        if not 0 <= spool_number <= MAX_SPOOL_NUMBER:
            raise ValueError(f"spool number {spool_number} is not between 0 and {MAX_SPOOL_NUMBER}")
        self.spool_number = spool_number
        self._spool = spool_number << _COUNTER_BITS
        self._clock = clock
        self._lock = threading.Lock()
        self._second = above >> (_COUNTER_BITS + _SPOOL_BITS)
        self._count = (above & ((1 << _COUNTER_BITS) - 1)) + 1 if above else 0

    def take(self, count: int = 1) -> int:
        """Give the first of `count` consecutive ids (1 to 2**20)."""
        if not 1 <= count <= 1 << _COUNTER_BITS:
            raise ValueError(f"{count} ids at once; between 1 and {1 << _COUNTER_BITS} can be had")
        with self._lock:
            second = max(self._clock() // 1_000_000 - _EPOCH_SECONDS, self._second)
            if second > self._second:
                self._second, self._count = second, 0
            if self._count + count > 1 << _COUNTER_BITS:  # more than a million in a second: borrow
                self._second, self._count = self._second + 1, 0
            first = self._count
            self._count += count
            return (self._second << (_COUNTER_BITS + _SPOOL_BITS)) | self._spool | first


def fresh_start(stored: int, clock: Clock = now) -> int:
    """Give the id to start above, when `stored` is the highest id on disk (0: none).

    Whoever starts stores it first: then what is given and lost in a crash is not given again.
    """
    present = clock() // 1_000_000 - _EPOCH_SECONDS
    second = max(stored >> (_COUNTER_BITS + _SPOOL_BITS), present) + 1
    return second << (_COUNTER_BITS + _SPOOL_BITS)


def made_at(id_: int) -> int:
    """Give the moment an id was made, in microseconds since the epoch, exact to the second."""
    return ((id_ >> (_COUNTER_BITS + _SPOOL_BITS)) + _EPOCH_SECONDS) * 1_000_000


def lowest_at(at: int) -> int:
    """Give the lowest id that can be made at a moment (microseconds); 0 for moments before 2020."""
    return max(at // 1_000_000 - _EPOCH_SECONDS, 0) << (_COUNTER_BITS + _SPOOL_BITS)


@lru_cache(1024)  # an id is told twice while its message is taken
def to_text(id_: int) -> str:
    """Write an id as 13 characters of lower-case base32."""
    return base32.encode(id_.to_bytes(8, "big")).decode("ascii")


def from_text(text: str) -> int:
    """Read an id as `to_text` writes it; raises ValueError for anything else."""
    if len(text) != 13 or not text.isascii():
        raise ValueError(f"{text!r} is not an id: 13 characters of base32 are expected")
    try:
        raw = base64.b32decode(text.upper() + "===")
    except ValueError:
        raise ValueError(f"{text!r} is not an id: 13 characters of base32 are expected") from None
    id_ = int.from_bytes(raw, "big")
    if to_text(id_) != text.lower():
        raise ValueError(f"{text!r} is not an id: its last character is not canonical")
    return id_


def spool_of(id_: int) -> int:
    """Give the number of the spool that made an id."""
    return (id_ >> _COUNTER_BITS) & MAX_SPOOL_NUMBER

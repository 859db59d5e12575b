"""Counts that the workers of a node share without sharing: a small memory-mapped table.

Each worker writes only its own column; everybody reads the sum over all. Guarantees: no locks and
no system calls on the way; what two workers add at the same time may be seen late by the other, so
a limit is overshot by workers - 1 at most; a worker that starts anew forgets what its predecessor
counted, but for counts with a lifetime. Bounded: a column has a fixed number of slots in buckets of
eight; where a bucket is full the count that ends soonest gives way, and where all its counts are
without end the new one is counted for this process only. Keys are kept as 64-bit hashes.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

_MAGIC = b"WPSHARE1"
_HEADER = struct.Struct("<8sQQ")  # magic, columns, slots of a column
_HEADER_SIZE = 64
_BUCKET = 8
_WORDS = 3  # key, count, end of its life in milliseconds (0: none)
_BUCKET_WORDS = _BUCKET * _WORDS


class SharedTable:
    """One worker's handle on the table: a tally whose sums are over all workers."""

    def __init__(
        self,
        path: Path,
        column: int,
        columns: int,
        *,
        slots: int = 16_384,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Map the file, made where it is missing or of another shape, and clear our column.

        `column` is this worker's index below `columns`; `slots` is a power of two. `monotonic`
        gives seconds since the machine started, the same for all processes.
        """
        if slots < _BUCKET or slots & (slots - 1):
            raise ValueError(f"{slots} slots: expected a power of two, at least {_BUCKET}")
        if not 0 <= column < columns:
            raise ValueError(f"column {column} is not below {columns}")
        self._buckets = slots // _BUCKET
        self._size = slots * _WORDS
        self._columns = columns
        self._monotonic = monotonic
        self._map = _mapped(path, _HEADER.pack(_MAGIC, columns, slots), columns * self._size * 8)
        self._words = memoryview(self._map)[_HEADER_SIZE:].cast("Q")
        self._own = column * self._size
        self._spilled: dict[int, int] = {}  # counts that found no slot
        self._forget_predecessor()

    def add(self, key: bytes, amount: int = 1, *, lifetime: float = 0.0) -> None:
        """Add to our part; with a `lifetime` the count is forgotten that many seconds later.

        The lifetime runs from the first of several additions.
        """
        hashed = _hash(key)
        now = self._milliseconds()
        at = self._find(hashed, self._own)
        words = self._words
        if at >= 0 and not _is_over(words[at + 2], now):
            words[at + 1] += amount
            return
        if at < 0:
            at = self._free(hashed, now)
        if at < 0:
            self._spilled[hashed] = self._spilled.get(hashed, 0) + amount
            return
        words[at + 1] = 0  # nobody reads a count under a key that is not its own
        words[at + 2] = now + int(lifetime * 1000) if lifetime else 0
        words[at] = hashed
        words[at + 1] = amount

    def sub(self, key: bytes, amount: int = 1) -> None:
        """Take away from our part; a key at zero is forgotten."""
        hashed = _hash(key)
        if hashed in self._spilled:
            left = self._spilled.pop(hashed) - amount
            if left > 0:
                self._spilled[hashed] = left
            return
        at = self._find(hashed, self._own)
        if at >= 0:
            left = max(self._words[at + 1] - amount, 0)
            self._words[at + 1] = left
            if not left:
                self._words[at] = 0

    def sum(self, key: bytes) -> int:
        """Give the number over all workers; 0 for an unknown key."""
        hashed = _hash(key)
        now = self._milliseconds()
        total = self._spilled.get(hashed, 0)
        words = self._words
        for column in range(self._columns):
            at = self._find(hashed, column * self._size)
            if at >= 0 and not _is_over(words[at + 2], now):
                total += words[at + 1]
        return total

    def close(self) -> None:
        """Give our counts back and let the mapping go."""
        self._forget_predecessor()
        self._words.release()
        self._map.close()

    def _find(self, hashed: int, base: int) -> int:
        """Give the place of a key in a column, -1 where it is not."""
        start = base + (hashed % self._buckets) * _BUCKET_WORDS
        keys = self._words[start : start + _BUCKET_WORDS : _WORDS].tolist()
        return start + keys.index(hashed) * _WORDS if hashed in keys else -1

    def _free(self, hashed: int, now: int) -> int:
        """Give a place of ours for a new key; -1 where every other count must stay."""
        start = self._own + (hashed % self._buckets) * _BUCKET_WORDS
        words = self._words
        soonest, place = 1 << 63, -1
        for at in range(start, start + _BUCKET_WORDS, _WORDS):
            end = words[at + 2]
            if not words[at] or _is_over(end, now):
                return at
            if end and end < soonest:
                soonest, place = end, at
        return place

    def _forget_predecessor(self) -> None:
        words = self._words
        for at in range(self._own, self._own + self._size, _WORDS):
            if words[at] and not words[at + 2]:
                words[at] = words[at + 1] = 0

    def _milliseconds(self) -> int:
        return int(self._monotonic() * 1000)


def _is_over(end: int, now: int) -> bool:
    return 0 < end <= now


def _hash(key: bytes) -> int:
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "little") or 1


def _mapped(path: Path, header: bytes, size: int) -> mmap.mmap:
    """Map the file; where it is of another shape a new one takes its place."""
    whole = _HEADER_SIZE + size
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_size == 0:
                os.ftruncate(fd, whole)
                os.pwrite(fd, header, 0)
            if os.fstat(fd).st_size == whole and os.pread(fd, len(header), 0) == header:
                return mmap.mmap(fd, whole)
            path.unlink(missing_ok=True)  # whoever maps it still may go on
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)  # the mapping keeps the file open
            os.close(fd)

"""Who a delivery went to, on this node, without the ledger: an append-only file per spool of
(delivery id, recipient hash).

A token carries no address, so an unsubscription names a delivery only. To put it in force at once,
also for mail already queued and with control down, a worker finds the recipient's keyed hash here.
Guarantees: 16 octets a delivery; ids only grow, so a lookup is a binary search in the file; months
that are over can be dropped whole. No address inside.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from relay.ids import made_at

_RECORD = struct.Struct("<QQ")
_MONTH_MICROSECONDS = 30 * 86_400 * 1_000_000


def _month(delivery: int) -> int:
    return made_at(delivery) // _MONTH_MICROSECONDS


class RecipientIndex:
    """Writes one spool's file, and looks up deliveries of any spool of this node."""

    def __init__(self, folder: Path, spool: int) -> None:
        """Write for spool number `spool` under `folder`, which is made when needed."""
        self._folder = folder
        self._spool = spool
        self._file = -1
        self._open_month = -1
        self._size = 0  # of the open file, before the last write

    def write(self, noted: Sequence[tuple[int, Sequence[int]]]) -> None:
        """Write recipients of new deliveries: the id of the first and one hash (64 bits) each for
        it and those that follow; ids grow from call to call. It is in the page cache when this
        returns: a killed process loses nothing, a lost machine at most the last moments.

        For one thread at a time. Raises OSError; what was to be written may then be there in part,
        and a later call goes on behind it.
        """
        pack = _RECORD.pack
        for month, same in groupby(noted, lambda one: _month(one[0])):
            if month != self._open_month:
                self._roll(month)
            self._size = os.fstat(self._file).st_size
            records = [pack(*one) for first, hashes in same for one in enumerate(hashes, first)]
            self._append(b"".join(records))

    def _append(self, records: bytes) -> None:
        try:
            written = os.write(self._file, records)
        except OSError:
            self.close()  # whoever opens it again cuts off what is torn
            raise
        if written != len(records):
            self.take_back()
            raise OSError(errno.ENOSPC, "no space left for the recipients of deliveries")

    def take_back(self) -> None:
        """Take what was written last out again: its messages were refused for lack of space."""
        if self._file >= 0:
            os.ftruncate(self._file, self._size)

    def find(self, delivery: int, spool: int) -> int | None:
        """Give the recipient hash of a delivery that spool `spool` made, None when it is not
        known.
        """
        path = self._path(spool, _month(delivery))
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            low, high = 0, os.fstat(file).st_size // _RECORD.size
            while low < high:
                middle = (low + high) // 2
                found, value = _RECORD.unpack(os.pread(file, _RECORD.size, middle * _RECORD.size))
                if found == delivery:
                    return int(value)
                if found < delivery:
                    low = middle + 1
                else:
                    high = middle
        finally:
            os.close(file)
        return None

    def drop_before(self, at: int) -> None:
        """Remove months that ended before `at` (microseconds since the epoch), of every spool."""
        for path in self._folder.glob("*-*.recipients"):
            month = int(path.stem.split("-")[1])
            if (month + 1) * _MONTH_MICROSECONDS < at:
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file that is written."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self._open_month = -1

    def _roll(self, month: int) -> None:
        self.close()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(self._spool, month)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)
        # A torn last record would shift all that follow: cut it off.
        size = os.fstat(self._file).st_size
        self._size = size - size % _RECORD.size
        os.ftruncate(self._file, self._size)
        self._open_month = month

    def _path(self, spool: int, month: int) -> Path:
        return self._folder / f"{spool}-{month}.recipients"

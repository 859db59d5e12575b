"""Urgent facts between the processes of a node, without control: who is suppressed from now on.

Each process appends to files of its own, one a day, and follows everybody's. Guarantees: `tell`
returns after the notice is on disk; `follow` gives each notice of every file once, in the order of
its file; a torn last record is waited for, never misread. A notice holds a hash, never an address.
Files that the suppression table has caught up with are dropped.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from relay.clock import DAY
from relay.suppressions import REASONS

_RECORD = struct.Struct("<QQBB6x")  # entry, moment, reason index or _REMOVED, check
_REMOVED = 255


class Notice(NamedTuple):
    """One entry of the suppression table that is new (or, without a reason, gone) since `at`
    (microseconds).
    """

    entry: int
    reason: str
    at: int


def _pack(notice: Notice) -> bytes:
    index = REASONS.index(notice.reason) if notice.reason else _REMOVED
    check = sum(notice.entry.to_bytes(8, "little")) & 0xFF
    return _RECORD.pack(notice.entry, notice.at, index, check)


def _unpack(record: bytes) -> Notice | None:
    entry, at, index, check = _RECORD.unpack(record)
    if check != sum(entry.to_bytes(8, "little")) & 0xFF:
        return None
    if index != _REMOVED and index >= len(REASONS):
        return None
    return Notice(entry, "" if index == _REMOVED else REASONS[index], at)


class NoticeBoard:
    """One process's pen, and its eyes on everybody's files."""

    def __init__(self, folder: Path, writer: str) -> None:
        """Write as `writer` (a plain name) into `folder`, which is made when needed."""
        self._folder = folder
        self._writer = writer
        self._file = -1
        self._day = -1
        self._read: dict[str, int] = {}  # octets read of each file

    def tell(self, notices: Sequence[Notice]) -> None:
        """Append notices and fsync; call it off the event loop. Raises OSError if the disk
        refuses.
        """
        if not notices:
            return
        self._roll(notices[0].at // DAY)
        os.write(self._file, b"".join(map(_pack, notices)))
        os.fdatasync(self._file)

    def follow(self) -> Iterator[Notice]:
        """Give what anybody wrote since the last call (the first call: everything there is)."""
        try:
            names = sorted(entry.name for entry in os.scandir(self._folder))
        except FileNotFoundError:
            return
        for name in names:
            if name.endswith(".notices"):
                yield from self._read_on(name)

    def drop_before(self, moment: int) -> None:
        """Remove files of days that ended before `moment` (µs): the table has caught up."""
        for path in self._folder.glob("*.notices"):
            day = int(path.stem.rpartition(".")[2])
            if (day + 1) * DAY < moment:
                path.unlink(missing_ok=True)
                self._read.pop(path.name, None)

    def close(self) -> None:
        """Close the file that is written."""
        if self._file >= 0:
            os.close(self._file)
        self._file, self._day = -1, -1

    def _read_on(self, name: str) -> Iterator[Notice]:
        done = self._read.get(name, 0)
        path = self._folder / name
        try:
            if path.stat().st_size - done < _RECORD.size:
                return
            with path.open("rb") as file:
                file.seek(done)
                fresh = file.read()
        except FileNotFoundError:
            return
        whole = len(fresh) - len(fresh) % _RECORD.size
        self._read[name] = done + whole
        for at in range(0, whole, _RECORD.size):
            notice = _unpack(fresh[at : at + _RECORD.size])
            if notice is not None:
                yield notice

    def _roll(self, day: int) -> None:
        if day == self._day:
            return
        self.close()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{self._writer}.{day}.notices"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)
        size = os.fstat(self._file).st_size
        os.ftruncate(self._file, size - size % _RECORD.size)
        self._day = day

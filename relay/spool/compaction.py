"""Housekeeping between group commits: survivors of old segments are copied on, empty queues go.

Works only while the writer has nothing else to do, in small steps, each a transaction of its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from relay.spool import record
from relay.spool.edits import empty_queues, sweep
from relay.spool.group import Group
from relay.spool.index import Index
from relay.spool.options import MIB, SpoolOptions
from relay.spool.protocol import DamagedContentError

if TYPE_CHECKING:
    from relay.spool.writer import Writer

_SWEEP = 60.0  # seconds
_STEP = MIB  # octets looked at in one step


class Housekeeping:
    """One step at each call; says whether there is more to do."""

    def __init__(
        self, options: SpoolOptions, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Take the bounds; `monotonic` gives seconds."""
        self._monotonic = monotonic
        self._next_sweep = monotonic() + _SWEEP
        self._options = options
        self._segment = 0  # being copied on
        self._offset = self._end = 0
        self._stuck: set[int] = set()  # segments that damaged records keep: left alone

    def __call__(self, writer: Writer) -> bool:
        """Do a step."""
        if self._segment and self._offset >= self._end:
            self._stuck.add(self._segment)  # gone by now, or not to be emptied
            self._segment = 0
        if self._segment not in writer.index.segments:
            self._segment, self._offset = self._choose(writer), 0
        if writer.space.low:
            writer.segments.release()
        elif self._segment:
            writer.write_alone(self._copy)
            return True
        return self._sweep(writer)

    def _sweep(self, writer: Writer) -> bool:
        """Once a minute, delete queues in which nothing waits."""
        if self._monotonic() < self._next_sweep:
            return False
        if empty_queues(writer.database):
            writer.write_alone(sweep)
            return True
        self._next_sweep = self._monotonic() + _SWEEP
        return False

    def _choose(self, writer: Writer) -> int:
        """Give a full segment of which little is alive, the emptiest first; 0 for none."""
        index: Index = writer.index
        best, share = 0, self._options.survivors
        for number, state in index.segments.items():
            if number == writer.segments.number or number in self._stuck or not state.size:
                continue
            if state.live_bytes / state.size < share:
                best, share = number, state.live_bytes / state.size
        return best

    def _copy(self, group: Group) -> None:
        """Copy the live records of the next stretch of the chosen segment."""
        number = self._segment
        state = group.index.segments[number]
        self._end = size = state.size
        if not state.live:
            self._offset = size
            group.drop_if_dead(number)
            return
        group.segments.roll()
        fd = os.open(group.segments.path(number), os.O_RDONLY | os.O_CLOEXEC)
        try:
            end = min(self._offset + _STEP, size)
            while self._offset < end:
                self._offset += self._copy_one(group, fd)
        except DamagedContentError:
            self._offset = size
        finally:
            os.close(fd)

    def _copy_one(self, group: Group, fd: int) -> int:
        header = os.pread(fd, record.HEADER_SIZE, self._offset)
        message, length = record.peek(header)
        place = group.place(message)
        if place is not None and (place.segment, place.offset) == (self._segment, self._offset):
            raw = os.pread(fd, length, self._offset)
            record.unpack(raw, message)  # a damaged one is not passed on as if it were whole
            offset = group.segments.append((raw,), length)
            group.relocate(message, place, group.segments.number, offset)
        return length

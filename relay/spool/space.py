"""How much room the file system has left, looked at once a second at most and off the loop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path


class Space:
    """Free space against the reserve; `look` belongs to the writer thread, `low` to everybody."""

    def __init__(
        self, path: Path, reserve: int, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`reserve` is in octets; `monotonic` gives seconds."""
        self._path = path
        self._reserve = reserve
        self._monotonic = monotonic
        self._looked = -1e9
        self.low = False
        self.look()

    def stale(self) -> bool:
        """Tell whether it is time to look again."""
        return self._monotonic() - self._looked >= 1.0

    def look(self) -> None:
        """Ask the file system, unless that was done within the last second."""
        if self.stale():
            self._looked = self._monotonic()
            found = os.statvfs(self._path)
            self.low = found.f_bavail * found.f_frsize <= self._reserve or self._no_inodes(found)

    def found_full(self) -> None:
        """Remember that a write failed for want of space; the next look decides anew."""
        self._looked = self._monotonic()
        self.low = True

    @staticmethod
    def _no_inodes(found: os.statvfs_result) -> bool:
        return found.f_files > 0 and found.f_favail == 0

"""Append-only files that hold message records, written in groups and deleted whole.

Guarantees: after `sync` everything appended is on disk, with the directory entry of a new file;
what was appended after the last `keep` can be taken back with `undo`. Which octets are live is the
caller's knowledge; so is the committed size, behind which a file may hold what a crash left or what
its former life left: a few emptied files are kept as spares and written over, because syncing
blocks that exist costs half of what growing a file costs. Belongs to the writer thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from relay.errors import StorageError
from relay.spool.files import Files

_SPARES = 2


class Segments:
    """The segment files of one spool."""

    def __init__(self, directory: Path, files: Files, *, limit: int, sync: bool = True) -> None:
        """`limit` is the size at which a new file is begun, in octets."""
        self.directory = directory
        self._files = files
        self._limit = limit
        self._sync = sync
        self._fd = -1
        self._dirty = False
        self._new = False
        self._kept = (0, 0)  # number and size at the last commit
        self._spares = sorted(directory.glob("*.spare"))
        self.number = 0
        self.size = 0

    def path(self, number: int) -> Path:
        """Give the path of a segment."""
        return self.directory / f"{number:08d}.seg"

    def start(self, number: int, size: int) -> None:
        """Go on behind `size` octets of segment `number`, writing over what is there."""
        self._close()
        path = self.path(number)
        self._new = not path.exists()
        if self._new and self._spares:
            self._files.rename(self._spares.pop(), path)
        self._fd = self._files.open(path)
        self.number, self.size = number, size
        self._kept = (number, size)

    def roll(self) -> None:
        """Begin a new file if the present one has reached its limit."""
        if self._fd < 0:
            self.start(max(self.number, 1), self.size)
        elif self.size >= self._limit:
            self.start(self.number + 1, 0)

    def append(self, parts: Sequence[bytes], size: int) -> int:
        """Write `parts` of `size` octets together; gives the offset of the first."""
        offset = self.size
        self._dirty = True
        self._files.write(self._fd, parts, offset)
        self.size += size
        return offset

    def sync(self) -> None:
        """Return when everything appended is on disk."""
        if not self._dirty:
            return
        if self._sync:
            try:
                self._files.sync(self._fd)
                if self._new:
                    self._files.sync_directory(self.directory)
            except OSError as error:  # whatever its number: the data may be gone
                raise StorageError(f"{self.path(self.number)} was not synced: {error}") from error
        self._new = self._dirty = False

    def keep(self) -> None:
        """Take what was appended as committed."""
        self._kept = (self.number, self.size)

    def undo(self) -> None:
        """Forget what was appended since `keep`."""
        number, size = self._kept
        if number != self.number:
            size = 0
        self.size = size
        self._dirty = False

    def remove(self, number: int) -> None:
        """Delete a segment that holds nothing live, or keep its file as a spare."""
        path = self.path(number)
        if len(self._spares) < _SPARES and path.exists():
            spare = path.with_suffix(".spare")
            self._files.rename(path, spare)
            self._spares.append(spare)
        else:
            self._files.unlink(path)

    def release(self) -> None:
        """Give the space of spares back: the disk is nearly full."""
        while self._spares:
            self._files.unlink(self._spares.pop())

    def numbers(self) -> list[int]:
        """List the segments that exist as files."""
        return sorted(int(p.stem) for p in self.directory.glob("*.seg") if p.stem.isdigit())

    def close(self) -> None:
        """Close the present file."""
        self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            self._files.close(self._fd)
            self._fd = -1

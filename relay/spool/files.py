"""The file calls that segments are made of, as a seam: tests record them and cut the power.

Short writes are completed here; errors pass through as OSError.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

_IOV_MAX = 1024


class Files(Protocol):
    """What a segment does to the disk."""

    def open(self, path: Path) -> int:
        """Open for reading and writing, made where missing (mode 0600); gives the descriptor."""
        ...

    def write(self, fd: int, parts: Sequence[bytes], offset: int) -> None:
        """Write all parts one after the other from `offset` on."""
        ...

    def rename(self, path: Path, to: Path) -> None:
        """Give a file another name."""
        ...

    def sync(self, fd: int) -> None:
        """Return when the file's data is on disk."""
        ...

    def sync_directory(self, path: Path) -> None:
        """Return when the directory's entries are on disk."""
        ...

    def unlink(self, path: Path) -> None:
        """Remove a file; one that is gone already is no error."""
        ...

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        ...


class DiskFiles:
    """The real disk."""

    def open(self, path: Path) -> int:
        """Open for reading and writing, made where missing."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, fd: int, parts: Sequence[bytes], offset: int) -> None:
        """Write all parts with as few calls as the system allows."""
        for start in range(0, len(parts), _IOV_MAX):
            some = parts[start : start + _IOV_MAX]
            size = sum(map(len, some))
            done = os.pwritev(fd, some, offset)
            if done != size:
                self._finish(fd, memoryview(b"".join(some))[done:], offset + done)
            offset += size

    def _finish(self, fd: int, rest: memoryview, offset: int) -> None:
        while rest:
            done = os.pwrite(fd, rest, offset)
            rest, offset = rest[done:], offset + done

    def rename(self, path: Path, to: Path) -> None:
        """Give a file another name."""
        path.rename(to)

    def sync(self, fd: int) -> None:
        """Flush data and the size that is needed to read it."""
        os.fdatasync(fd)

    def sync_directory(self, path: Path) -> None:
        """Flush a directory."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        path.unlink(missing_ok=True)

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        os.close(fd)

"""Who owns a spool directory: a lock on its file `lock`, held for the life of the process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from relay.errors import StorageError


class SpoolHeldError(StorageError):
    """Another process works on this spool."""


class DirectoryLock:
    """An exclusive lock, given back by `release` or by the end of the process."""

    def __init__(self, directory: Path) -> None:
        """Take the lock at once; raises SpoolHeldError where somebody else has it."""
        path = directory / "lock"
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise SpoolHeldError(f"{directory} is in use: another process holds {path}") from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Give the lock back."""
        os.close(self._fd)

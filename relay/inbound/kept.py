"""A bounded folder for mails that came to our signed addresses and that nobody could read.

Guarantees: the newest stay, at most so many and so many octets; names carry no text from the mail;
a full disk costs the copy, never the reply.
"""

from __future__ import annotations

import logging
from pathlib import Path

_log = logging.getLogger(__name__)


class Kept:
    """Keeps whole mails as files named by time and delivery."""

    def __init__(self, folder: Path, *, files: int = 1000, octets: int = 100 << 20) -> None:
        """Keep at most `files` mails and `octets` in all in `folder`, which is made when needed."""
        self._folder = folder
        self._files = files
        self._octets = octets

    def keep(self, message: bytes, at: int, delivery: int) -> Path | None:
        """Write one mail (mode 0600); give its path, None when the disk did not take it."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self._folder / f"{at:016d}-{delivery:016x}.eml"
            path.touch(mode=0o600)
            path.write_bytes(message)
            self._sweep()
        except OSError as problem:
            _log.warning("a mail that could not be read was not kept: %s", problem.strerror)
            return None
        return path

    def _sweep(self) -> None:
        held = sorted(self._folder.glob("*.eml"), reverse=True)
        octets = 0
        for count, path in enumerate(held, start=1):
            octets += path.stat().st_size
            if count > self._files or octets > self._octets:
                path.unlink(missing_ok=True)

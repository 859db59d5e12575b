"""A Maildir where another server drops what came back: read, then moved from `new` to `cur`.

Guarantees: a mail is moved only after its facts are in the ledger, so a crash reads it again and
loses none; one that cannot be opened, is too large or breaks our reading is moved and logged, never
in the way (the last is also kept among the unrecognised). At most `_TOGETHER` mails are looked at
in one turn. Nothing is ever deleted.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from relay.clock import Clock, now
from relay.errors import StorageError
from relay.inbound.border import NOT_ITS_FAULT
from relay.inbound.kept import Kept

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
_TOGETHER = 500

Take = Callable[[bytes], Awaitable[object]]


class Maildir:
    """Watches one Maildir."""

    def __init__(
        self, folder: Path, take: Take, *, kept: Kept, max_octets: int, clock: Clock = now
    ) -> None:
        """Take the folder (its `new` and `cur` are made when needed), who reads the mails, and
        where those go that break the reading.
        """
        self._kept = kept
        self._clock = clock
        self._new = folder / "new"
        self._cur = folder / "cur"
        self._take = take
        self._max = max_octets
        self.counts: Counter[str] = Counter()

    async def keep_reading(self) -> None:
        """Read what arrives; runs until cancelled."""
        while True:
            try:
                done = await self.read()
            except OSError as problem:
                _log.warning("%s cannot be read: %s", self._new.parent, problem.strerror)
                done = 0
            except StorageError:
                _log.exception("reports of %s wait until the ledger takes them", self._new.parent)
                done = 0
            except MemoryError:
                _log.warning("reports of %s wait: there is no memory for them", self._new.parent)
                done = 0
            if done < _TOGETHER:
                await asyncio.sleep(_LOOK_SECONDS)

    async def read(self) -> int:
        """Read what is there; give the number of mails moved.

        Raises StorageError, OSError, MemoryError: the mail at which it ended stays for the next
        turn.
        """
        names = await asyncio.to_thread(self._names)
        for name in names:
            content = await asyncio.to_thread(self._content, name)
            if content is not None:
                await self._taken(name, content)
            await asyncio.to_thread(self._done, name)
        return len(names)

    async def _taken(self, name: str, content: bytes) -> None:
        try:
            await self._take(content)
        except NOT_ITS_FAULT:
            raise
        except Exception:  # noqa: BLE001 - a fault of ours in one mail does not stop control
            _log.exception("%s could not be read", self._new / name)
            self.counts["other"] += 1
            await asyncio.to_thread(self._kept.keep, content, self._clock(), 0)
        else:
            self.counts["read"] += 1

    def _names(self) -> list[str]:
        for folder in (self._new, self._cur):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return sorted(
            entry.name
            for entry in os.scandir(self._new)
            if entry.is_file(follow_symlinks=False) and not entry.name.startswith(".")
        )[:_TOGETHER]

    def _content(self, name: str) -> bytes | None:
        path = self._new / name
        try:
            if path.stat().st_size > self._max:
                _log.warning("%s is larger than inbound.max_message_bytes: passed over", path)
            else:
                return path.read_bytes()
        except OSError as problem:
            _log.warning("%s is passed over: %s", path, problem.strerror)
        self.counts["passed_over"] += 1
        return None

    def _done(self, name: str) -> None:
        seen = name if ":2," in name else f"{name}:2,"
        (self._new / name).rename(self._cur / (seen if seen.endswith("S") else f"{seen}S"))

"""Reads message records back from their segments; each proves itself before it is given out."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from relay.message import Message
from relay.spool import record
from relay.spool.protocol import DamagedContentError

Wanted = tuple[int, int, int, int]  # message, segment, offset, length
Found = tuple[Message, bytes]


class Reader:
    """Reads records in one thread of its own, off the event loop."""

    def __init__(self, directory: Path) -> None:
        """`directory` holds the segments."""
        self._directory = directory
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool-reader")

    def read_many(self, wanted: Sequence[Wanted]) -> asyncio.Future[list[Found | None]]:
        """Give several messages in one go, None for what cannot be read."""
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._thread, _read, self._directory, wanted)

    async def join(self, thread: threading.Thread) -> None:
        """Wait for another thread to end without holding up the loop, then end."""
        await asyncio.get_running_loop().run_in_executor(self._thread, thread.join)
        self._thread.shutdown(wait=False)


def _read(directory: Path, wanted: Sequence[Wanted]) -> list[Found | None]:
    found: list[Found | None] = []
    opened: dict[int, int] = {}
    try:
        for message, segment, offset, length in wanted:
            try:
                if segment not in opened:
                    path = directory / f"{segment:08d}.seg"
                    opened[segment] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                raw = os.pread(opened[segment], length, offset)
                found.append(record.unpack(raw, message))
            except (FileNotFoundError, DamagedContentError):
                found.append(None)
    finally:
        for fd in opened.values():
            os.close(fd)
    return found

"""Contents for departure: from memory where they were just accepted, read in batches after a claim.

A content is read once however many deliveries ask for it; a record that was moved while it was
being read proves damaged and is looked up again before anybody believes that it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from relay.message import Delivery
from relay.spool.cache import ContentCache
from relay.spool.database import Database
from relay.spool.group import read_place
from relay.spool.protocol import DamagedContentError
from relay.spool.reader import Found, Reader, Wanted
from relay.spool.writer import Writer

_BATCH = 32  # messages read in one go
_BATCH_OCTETS = 4 << 20

Ask = Callable[[Callable[[Database], Any]], asyncio.Future[Any]]


class Contents:
    """The reading side of a spool; belongs to the event loop's thread."""

    def __init__(self, directory: Path, writer: Writer, ask: Ask) -> None:
        """`directory` holds the segments; `ask` puts a question to the database."""
        self.cache = ContentCache(writer.options.cache_bytes)
        self._limit = writer.options.cache_bytes
        self._writer = writer
        self._index = writer.index
        self._ask = ask
        self._reader = Reader(directory)
        self._alone: dict[int, asyncio.Future[Found]] = {}  # being read for who asked
        self._ahead: dict[int, asyncio.Future[list[Found | None]]] = {}  # being read in a batch

    async def load(self, message: int) -> Found:
        """Read a message; raises KeyError when it is gone, DamagedContentError when not intact."""
        batch = self._ahead.get(message)
        if batch is not None:
            await asyncio.wait((batch,))
            found = self.cache.get(message)
            if found is not None:
                return found
        alone = self._alone.get(message)
        if alone is None:
            alone = asyncio.ensure_future(self._load(message))
            self._alone[message] = alone
            alone.add_done_callback(partial(self._loaded, message))
        return await asyncio.shield(alone)

    def prefetch(self, deliveries: Sequence[Delivery]) -> None:
        """Begin to read what was claimed, as far as half of the memory for contents allows."""
        room = self._limit // 2 - self.cache.octets
        batch: list[Wanted] = []
        octets = 0
        for message in dict.fromkeys(delivery.message for delivery in deliveries):
            place = self._index.places.get(message)
            if place is None or message in self._ahead or self.cache.get(message):
                continue
            room -= place.length
            if room < 0:
                break
            batch.append((message, place.segment, place.offset, place.length))
            octets += place.length
            if len(batch) >= _BATCH or octets >= _BATCH_OCTETS:
                self._begin(batch)
                batch, octets = [], 0
        if batch:
            self._begin(batch)

    async def close(self) -> None:
        """End with the writer."""
        await self._reader.join(self._writer)

    def _begin(self, batch: list[Wanted]) -> None:
        future = self._reader.read_many(batch)
        self._ahead.update((wanted[0], future) for wanted in batch)
        future.add_done_callback(partial(self._fetched, batch))

    def _fetched(self, batch: list[Wanted], future: asyncio.Future[list[Found | None]]) -> None:
        for wanted in batch:
            self._ahead.pop(wanted[0], None)
        if not future.cancelled() and future.exception() is None:
            for found in future.result():
                if found is not None:
                    self._keep(found)

    def _loaded(self, message: int, future: asyncio.Future[Found]) -> None:
        del self._alone[message]
        if not future.cancelled() and future.exception() is None:
            self._keep(future.result())

    def _keep(self, found: Found) -> None:
        if found[0].id in self._index.places:  # else it is done already
            self.cache.put(*found)

    async def _load(self, message: int) -> Found:
        place = self._index.places.get(message)
        tried: Wanted | None = None
        while True:
            if place is not None:
                wanted = (message, place.segment, place.offset, place.length)
                if wanted == tried:  # it was not moved meanwhile
                    self._index.damaged += 1
                    raise DamagedContentError(f"the stored content of message {message} is damaged")
                tried = wanted
                (found,) = await self._reader.read_many((wanted,))
                if found is not None:
                    return found
            place = await self._ask(lambda database: read_place(database, message))
            if place is None:
                raise KeyError(message)

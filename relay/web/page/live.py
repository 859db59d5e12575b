"""News for open reports: told when a fold touched what they show (server-sent events).

Guarantees: a report hears of a fold within half a second of its commit, and of many folds once in
half a second; nobody who reads slowly holds anything up or makes anything grow; at most `MOST`
listen at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Connection, select

from relay.errors import StorageError
from relay.ledger.engine import Ledger
from relay.ledger.tables import mailings

_log = logging.getLogger(__name__)

MOST = 200
PAUSE = 0.5
HEARTBEAT = 15.0
_MOST_KNOWN = 100_000


class Subject(NamedTuple):
    """What a mailing is about, as far as reports tell them apart."""

    account: int
    sending_domain: str
    campaign: str


Watched = Callable[[Subject], bool]


@dataclass(slots=True, eq=False)
class Listener:
    """One open report: set when something it shows has changed."""

    watches: Watched
    news: asyncio.Event = field(default_factory=asyncio.Event)


class TooManyListenersError(Exception):
    """As many reports are open as are served at once."""


class Live:
    """Hands the news of folds to the reports they concern."""

    def __init__(self, ledger: Ledger) -> None:
        """Take the ledger, to look up what a mailing is about."""
        self._ledger = ledger
        self._known: dict[int, Subject] = {}
        self._touched: set[int] = set()
        self._wake = asyncio.Event()
        self._listeners: set[Listener] = set()

    def touched(self, numbers: Iterable[int]) -> None:
        """Take the numbers of the mailings that a fold changed; never waits."""
        if self._listeners:
            self._touched.update(numbers)
            self._wake.set()

    async def keep_telling(self) -> None:
        """Tell the listeners, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            touched, self._touched = self._touched, set()
            try:
                subjects = await self._subjects(touched)
            except StorageError as problem:  # reports ask again by themselves, only later
                _log.warning("open reports were not told of news: %s", problem)
                subjects = []
            for listener in self._listeners:
                if any(map(listener.watches, subjects)):
                    listener.news.set()
            await asyncio.sleep(PAUSE)

    async def follow(self, watches: Watched) -> AsyncIterator[bool]:
        """Give True at each news, False when it was quiet for `HEARTBEAT` seconds.

        Raises TooManyListenersError.
        """
        with self._listening(watches) as listener:
            while True:
                try:
                    async with asyncio.timeout(HEARTBEAT):
                        await listener.news.wait()
                except TimeoutError:
                    yield False
                    continue
                listener.news.clear()
                yield True

    @contextmanager
    def _listening(self, watches: Watched) -> Iterator[Listener]:
        if len(self._listeners) >= MOST:
            raise TooManyListenersError
        listener = Listener(watches)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def _subjects(self, numbers: set[int]) -> list[Subject]:
        missing = [number for number in numbers if number not in self._known]
        if missing:
            if len(self._known) > _MOST_KNOWN:
                self._known.clear()
            await self._ledger.read(lambda connection: self._look_up(connection, missing))
        return [self._known[number] for number in numbers if number in self._known]

    def _look_up(self, connection: Connection, numbers: list[int]) -> None:
        c = mailings.c
        for start in range(0, len(numbers), 500):  # SQLite bounds the parameters of a statement
            wanted = select(c.id, c.account, c.sending_domain, c.campaign)
            for row in connection.execute(wanted.where(c.id.in_(numbers[start : start + 500]))):
                self._known[row.id] = Subject(row.account, row.sending_domain, row.campaign)

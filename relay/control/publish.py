"""From the ledger to the workers: the `Settings` value, its snapshot file and the numbered feed.

Guarantees: `prepare` runs inside the transaction of a change and writes the steps that lead from
the published settings to the new ones, so that version, feed and rows are committed together;
`publish` then replaces the snapshot (0600, atomic, fsynced) and tells the listeners. `load` and
`start` make up for a crash between the two. A snapshot that cannot be written is tried again with
the next change; workers that are connected get their steps in any case.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from relay.control.reading import read_settings
from relay.ledger import settings_tables as tables
from relay.notices import Notice
from relay.settings import Change, Settings

_log = logging.getLogger(__name__)

_FEED_LENGTH = 20_000
_WHOLE = ("blocks", "pause", "hosts")
_ROWS = ("accounts", "credentials", "domains")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A change that is about to be committed."""

    settings: Settings
    steps: tuple[Change, ...]


@dataclass(slots=True, kw_only=True)
class Listeners:
    """Who is told: the link to the workers fills these in."""

    changed: Callable[[Sequence[Change]], None] = lambda _steps: None
    in_force: Callable[[], Awaitable[None]] | None = None  # returns when they work by it
    suppress: Callable[[Sequence[Notice]], Awaitable[None]] | None = None


class Publisher:
    """Holds the published settings."""

    def __init__(self, snapshot: Path, listeners: Listeners | None = None) -> None:
        """Take the snapshot's path and whoever is to be told."""
        self._snapshot = snapshot
        self._settings = Settings()
        self._feed: deque[Change] = deque(maxlen=_FEED_LENGTH)
        self.listeners = listeners or Listeners()
        self.snapshot_error = ""  # why the file is older than the settings, or ""

    @property
    def version(self) -> int:
        """Give the version of the published settings."""
        return self._settings.version

    @property
    def settings(self) -> Settings:
        """Give the published settings."""
        return self._settings

    def replay(self, after: int) -> Sequence[Change]:
        """Give the steps after a version, in order; empty when there are none or not all of them.

        A worker so far behind that the feed does not reach back to it reads the snapshot again.
        """
        steps = [step for step in self._feed if step.version > after]
        return steps if steps and steps[0].version == after + 1 else []

    def load(self, connection: Connection) -> None:
        """Take up what the ledger holds; run it as `await ledger.read(publisher.load)`."""
        self._settings = read_settings(connection)
        rows = connection.execute(
            select(tables.changes.c.change)
            .order_by(tables.changes.c.version.desc())
            .limit(_FEED_LENGTH)
        )
        feed = [msgspec.msgpack.decode(row[0], type=Change) for row in rows]
        self._feed = deque(reversed(feed), maxlen=_FEED_LENGTH)

    async def start(self) -> None:
        """Bring the snapshot up to what was loaded, before any worker reads it."""
        await self._write_snapshot()

    def prepare(self, connection: Connection) -> Prepared:
        """Write version and feed for what changed in this transaction."""
        fresh = read_settings(connection)
        steps = difference(self._settings, fresh)
        version = self._settings.version + len(steps)
        if steps:
            rows = [
                {"version": step.version, "change": msgspec.msgpack.encode(step)} for step in steps
            ]
            connection.execute(insert(tables.changes), rows)
            connection.execute(
                delete(tables.changes).where(tables.changes.c.version <= version - _FEED_LENGTH)
            )
            connection.execute(update(tables.version).values(settings=version))
        return Prepared(
            settings=msgspec.structs.replace(fresh, version=version),
            steps=tuple(steps),
        )

    async def publish(self, prepared: Prepared) -> None:
        """Make the snapshot follow and tell the listeners; the change is committed."""
        if prepared.steps:
            self._settings = prepared.settings
            self._feed.extend(prepared.steps)
            await self._write_snapshot()
            self.listeners.changed(prepared.steps)

    async def in_force(self) -> None:
        """Wait until what was published is in force wherever somebody listens."""
        if self.listeners.in_force is not None:
            await self.listeners.in_force()

    async def suppress(self, notices: Sequence[Notice]) -> None:
        """Tell of suppressions that were committed."""
        if self.listeners.suppress is not None:
            await self.listeners.suppress(notices)

    async def _write_snapshot(self) -> None:
        content = msgspec.msgpack.encode(self._settings)
        try:
            await asyncio.to_thread(replace_file, self._snapshot, content)
        except OSError as problem:
            self.snapshot_error = f"{self._snapshot}: {problem.strerror}"
            _log.exception("settings snapshot %s was not written", self._snapshot)
        else:
            self.snapshot_error = ""


def difference(old: Settings, new: Settings) -> list[Change]:
    """Give the steps that lead from one to the other, numbered on from the old version."""
    found: list[tuple[str, int | str | None, bytes | None]] = []
    for table in _ROWS:
        before: dict[Any, Any] = getattr(old, table)
        after: dict[Any, Any] = getattr(new, table)
        found += [
            (table, key, msgspec.msgpack.encode(value))
            for key, value in after.items()
            if before.get(key) != value
        ]
        found += [(table, key, None) for key in before if key not in after]
    for table in _WHOLE:
        if getattr(old, table) != getattr(new, table):
            found.append((table, None, msgspec.msgpack.encode(getattr(new, table))))
    return [
        Change(version=old.version + number, table=table, key=key, value=value)
        for number, (table, key, value) in enumerate(found, start=1)
    ]


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file as a whole, 0600, on disk before this returns; raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read_snapshot(path: Path) -> Settings:
    """Read a snapshot as `publish` wrote it; raises OSError or msgspec.DecodeError."""
    return msgspec.msgpack.decode(path.read_bytes(), type=Settings)

"""The ledger's door: opens the database, brings its schema up to date, runs transactions.

A transaction is a function. `await ledger.write(work)` runs `work(connection)` with a SQLAlchemy
Core connection inside one transaction and commits when it returns; `await ledger.read(work)` gives
it one consistent snapshot. Nothing else can happen in between, nothing can be left open, and the
event loop is never blocked: the work runs in the ledger's own threads.

Guarantees: one process at a time (SQLite: exclusive lock file; PostgreSQL: an advisory lock per
writing transaction, so that several nodes may share it); one connection that writes and checkpoints
(SQLite before 3.51.3 can corrupt a WAL that two do), readers open the file read-only; a commit is
on disk when `write` returns (`synchronous=FULL`, `synchronous_commit=on`). Leaves to others: what
is in the tables.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, exc, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import QueuePool, StaticPool

from relay.errors import ConfigError, StorageError
from relay.ledger.migrate import migrate
from relay.ledger.recipient_keys import load_recipient_keys

_log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[Connection], T]

_WRITE_LOCK = 0x5761_7970  # one number for every node that shares a PostgreSQL ledger
_NETWORK = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""To notice a database server that is gone without a word: seconds, the last in milliseconds."""
_CACHE_KIB = 64 * 1024  # of the writing connection; a reader has a quarter


class LedgerBusyError(StorageError):
    """Another process has the ledger open; the text names its lock file."""


class Ledger:
    """An open ledger. Made by `open_ledger`; safe to use from any task of its event loop."""

    def __init__(
        self, writer: Engine, reader: Engine, readers: int, *, durable: bool = True
    ) -> None:
        """Take two engines on the same database: one that writes, one that only reads.

        `durable`: whether a commit survives a power cut, as far as the server says.
        """
        self.durable = durable
        self._writer = writer
        self._reader = reader
        self._writing = ThreadPoolExecutor(1, "ledger-write")
        self._reading = ThreadPoolExecutor(readers, "ledger-read")

    @property
    def dialect(self) -> str:
        """Give "sqlite" or "postgresql"."""
        return self._writer.dialect.name

    async def write(self, work: Work[T]) -> T:
        """Run `work` in one writing transaction; returns its result after the commit is on disk.

        What `work` raises rolls back and is raised here; errors of the database become
        StorageError. If the waiting task is cancelled, the transaction still runs to its end,
        whole.
        """
        return await asyncio.get_running_loop().run_in_executor(
            self._writing, self._run, self._writer, work
        )

    async def read(self, work: Work[T]) -> T:
        """Run `work` on one snapshot of the ledger; writing in it is an error."""
        return await asyncio.get_running_loop().run_in_executor(
            self._reading, self._run, self._reader, work
        )

    def _run(self, engine: Engine, work: Work[T]) -> T:
        driver = engine.dialect.loaded_dbapi
        try:
            with engine.begin() as connection:
                if engine is self._writer and engine.dialect.name == "postgresql":
                    connection.execute(text(f"SELECT pg_advisory_xact_lock({_WRITE_LOCK})"))
                return work(connection)
        except exc.DBAPIError as error:
            raise StorageError(f"ledger: {error.orig}") from error
        except driver.Error as error:  # of a statement that the driver ran itself
            raise StorageError(f"ledger: {error}") from error

    def close(self) -> None:
        """Wait for running transactions, then close; readers first, so that the writer
        checkpoints."""
        self._reading.shutdown()
        self._writing.shutdown()
        self._reader.dispose()
        self._writer.dispose()


@asynccontextmanager
async def open_ledger(url: str, *, readers: int = 2) -> AsyncIterator[Ledger]:
    """Open the ledger at "sqlite:///PATH" or "postgresql://..." and migrate it to this version.

    Raises ConfigError for another URL, LedgerBusyError when another process has it (SQLite), and
    StorageError when it cannot be opened or migrated.
    """
    parsed = _parse(url)
    with _exclusive(parsed):
        try:
            ledger = await asyncio.to_thread(_open, parsed, readers)
        except (exc.DBAPIError, sqlite3.Error) as error:
            raise StorageError(f"ledger {parsed.render_as_string()}: {error}") from error
        try:
            yield ledger
        finally:
            await asyncio.to_thread(ledger.close)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except exc.ArgumentError:
        raise ConfigError("ledger URL: expected sqlite:///PATH or postgresql://...") from None
    if parsed.drivername == "sqlite" and parsed.database:
        return parsed
    if parsed.drivername in {"postgresql", "postgresql+psycopg"}:
        return parsed.set(drivername="postgresql+psycopg")
    raise ConfigError(
        f"ledger URL {parsed.render_as_string()}: expected sqlite:///PATH or postgresql://..."
    )


@contextmanager
def _exclusive(url: URL) -> Iterator[None]:
    """Hold PATH.lock for as long as the ledger is open; the kernel frees it when the process
    dies."""
    if url.drivername != "sqlite":
        yield
        return
    path = Path(f"{url.database}.lock")
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LedgerBusyError(
                f"{url.database} is in use by another process (it holds {path}); "
                "stop the relay or use its admin socket"
            ) from None
        yield
    finally:
        os.close(handle)


def _open(url: URL, readers: int) -> Ledger:
    if url.drivername == "sqlite":
        writer, reader = _sqlite_engines(Path(url.database or ""), readers)
    else:
        writer, reader = _postgres_engines(url, readers)
    try:
        with writer.begin() as connection:
            if writer.dialect.name == "postgresql":
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_WRITE_LOCK})"))
            migrate(connection)
            load_recipient_keys(connection)  # made here, so that reading never has to
            unsafe = _unsafe(connection)
    except BaseException:
        reader.dispose()
        writer.dispose()
        raise
    if unsafe:
        _log.warning(
            "THE LEDGER IS NOT DURABLE: the PostgreSQL server runs with %s; a power cut can lose "
            "or damage what it has confirmed. Statistics, accounts and settings are at risk.",
            " and ".join(f"{name} = off" for name in unsafe),
        )
    return Ledger(writer, reader, readers, durable=not unsafe)


def _unsafe(connection: Connection) -> list[str]:
    """Name the server's settings that take durability away; those of a session are ours."""
    if connection.dialect.name != "postgresql":
        return []
    settings = ("fsync", "full_page_writes")
    return [
        name
        for name in settings
        if connection.exec_driver_sql(f"SHOW {name}").scalar_one() == "off"
    ]


def _sqlite_engines(path: Path, readers: int) -> tuple[Engine, Engine]:
    def connect(uri: str, pragmas: tuple[str, ...]) -> Callable[[], sqlite3.Connection]:
        def open_connection() -> sqlite3.Connection:
            raw = sqlite3.connect(
                uri, uri=True, isolation_level=None, check_same_thread=False, timeout=10
            )
            for pragma in pragmas:
                raw.execute(f"PRAGMA {pragma}")
            return raw

        return open_connection

    quoted = path.absolute().as_uri()
    path.touch(mode=0o600)
    writer = create_engine(
        "sqlite://",
        poolclass=StaticPool,
        creator=connect(
            quoted,
            (
                "journal_mode=WAL",
                "synchronous=FULL",
                "foreign_keys=ON",
                f"cache_size=-{_CACHE_KIB}",
                "wal_autocheckpoint=4000",
                "temp_store=MEMORY",
            ),
        ),
    )
    reader = create_engine(
        "sqlite://",
        poolclass=QueuePool,
        pool_size=readers,
        max_overflow=0,
        creator=connect(
            quoted + "?mode=ro",  # a read-only connection never checkpoints, not even on closing
            ("query_only=ON", f"cache_size=-{_CACHE_KIB // 4}", "mmap_size=1073741824"),
        ),
    )
    # The driver opens transactions late and commits before some statements; we say it ourselves.
    event.listen(writer, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    event.listen(reader, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return writer, reader


def _postgres_engines(url: URL, readers: int) -> tuple[Engine, Engine]:
    def be_durable(raw: Any, _record: object) -> None:
        with raw.cursor() as cursor:
            cursor.execute("SET synchronous_commit = on")
            cursor.execute("SET TIME ZONE 'UTC'")
        raw.commit()

    writer = create_engine(
        url, pool_size=1, max_overflow=0, pool_pre_ping=True, connect_args=_NETWORK
    )
    reader = create_engine(
        url,
        connect_args=_NETWORK,
        pool_size=readers,
        max_overflow=0,
        pool_pre_ping=True,
        isolation_level="REPEATABLE READ",
        execution_options={"postgresql_readonly": True},
    )
    event.listen(writer, "connect", be_durable)
    return writer, reader

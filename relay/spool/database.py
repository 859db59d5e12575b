"""The only door to sqlite3: one connection, used by one thread at a time, errors in our words.

Guarantees WAL with synchronous=FULL (COMMIT returns after fsync), no checkpoint but those asked
for, and that a full disk is told apart from a broken one: SpoolFullError leaves the connection
usable, any other StorageError does not. Rows of one statement are batched into few statements,
because each step of SQLite gives the interpreter lock away and a busy loop gives it back late.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from relay.errors import SpoolFullError, StorageError

Row = tuple[Any, ...]

_FRAME = 24 + 4096
_MOST_ROWS = 32  # of one statement; each number up to it has a statement of its own


class Database:
    """One SQLite file."""

    def __init__(self, path: Path, *, sync: bool = True) -> None:
        """Open or make the file; it may be used from another thread than the one that opened it."""
        self.path = path
        self._shm = path.with_name(path.name + "-shm")
        with _Translated(path):
            self._connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, cached_statements=256
            )
            self._execute = self._connection.execute
            for pragma in (
                "page_size = 4096",
                "journal_mode = WAL",
                f"synchronous = {'FULL' if sync else 'OFF'}",
                "wal_autocheckpoint = 0",
                "cache_size = -16384",
                "temp_store = MEMORY",
                "foreign_keys = OFF",
            ):
                self._execute(f"PRAGMA {pragma}").fetchall()
        self._index = -1  # descriptor of the -shm file
        self._translated = _Translated(path)
        path.chmod(0o600)

    def run(self, sql: str, values: Sequence[object] = ()) -> int:
        """Run one statement; gives the number of rows changed."""
        with self._translated:
            return self._execute(sql, values).rowcount

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """Give all rows of a query."""
        with self._translated:
            return self._execute(sql, values).fetchall()

    def pages(self, sql: str, values: Sequence[object] = ()) -> Iterator[list[Row]]:
        """Give the rows of a query a few at a time, so that the caller may stop."""
        with self._translated:
            cursor = self._execute(sql, values)
            try:
                while page := cursor.fetchmany(128):
                    yield page
            finally:
                cursor.close()

    def row(self, sql: str, values: Sequence[object] = ()) -> Row | None:
        """Give the first row of a query."""
        with self._translated:
            found: Row | None = self._execute(sql, values).fetchone()
            return found

    def number(self, sql: str, values: Sequence[object] = ()) -> int:
        """Give the integer a query asks for; 0 for NULL and for no row."""
        row = self.row(sql, values)
        return int(row[0]) if row and row[0] is not None else 0

    def insert(self, head: str, rows: Sequence[Row]) -> None:
        """Insert rows; `head` is "INSERT INTO t(a, b)"."""
        if not rows:
            return
        marks = "(" + ",".join("?" * len(rows[0])) + ")"
        with self._translated:
            for start in range(0, len(rows), _MOST_ROWS):
                some = rows[start : start + _MOST_ROWS]
                values = [value for row in some for value in row]
                self._execute(f"{head} VALUES {','.join([marks] * len(some))}", values)

    def delete(self, table: str, ids: Sequence[int]) -> None:
        """Delete the rows of a table by their ids."""
        with self._translated:
            for start in range(0, len(ids), _MOST_ROWS):
                some = ids[start : start + _MOST_ROWS]
                marks = ",".join("?" * len(some))
                self._execute(
                    f"DELETE FROM {table} WHERE id IN ({marks})",  # noqa: S608 - our own names
                    some,
                )

    def begin(self) -> None:
        """Start a transaction that writes."""
        self.run("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """End the transaction; returns after fsync."""
        self.run("COMMIT")

    def rollback(self) -> None:
        """Undo the transaction where SQLite has not done so itself."""
        if self._connection.in_transaction:
            self.run("ROLLBACK")

    def wal_size(self) -> int:
        """Give the octets of the write-ahead log in use.

        The file itself keeps its length when the log starts again from the front (overwriting is
        cheaper to sync than growing), so the number of frames is read from the index beside it
        (sqlite.org/walformat.html section 2.1, mxFrame).
        """
        if self._index < 0:
            try:
                self._index = os.open(self._shm, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:  # nothing was written yet
                return 0
        head = os.pread(self._index, 20, 0)
        return int.from_bytes(head[16:20], sys.byteorder) * _FRAME

    def checkpoint(self, mode: str = "PASSIVE") -> None:
        """Copy the write-ahead log into the database (PASSIVE) and cut it to nothing (TRUNCATE)."""
        self.run(f"PRAGMA wal_checkpoint({mode})")

    def close(self) -> None:
        """Close the file; the last transaction stays as it is."""
        with self._translated:
            self._connection.close()
        if self._index >= 0:  # not before: closing it drops SQLite's own locks on that file
            os.close(self._index)
            self._index = -1


class _Translated:
    """Turns SQLite's errors into ours."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not isinstance(error, sqlite3.Error):
            return
        code = getattr(error, "sqlite_errorcode", 0) or 0
        if code & 0xFF == sqlite3.SQLITE_FULL:
            raise SpoolFullError(f"no space left for {self._path}") from error
        raise StorageError(f"{self._path}: {error}") from error

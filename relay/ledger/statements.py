"""Hot statements as text: one spelling for both databases, executed by the driver itself.

The fold runs a dozen statements with thousands of rows each; SQLAlchemy's per-row work would cost
more than the database. They run inside the connection's transaction; `Ledger` turns the driver's
errors into StorageError. Texts are written with `?` and use only what SQLite and PostgreSQL share
(INSERT .. ON CONFLICT .. DO UPDATE, EXCLUDED). They are made from table definitions, never from
data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Table

Row = tuple[Any, ...]
_IN_AT_ONCE = 500  # ids in one IN list; SQLite before 3.32 takes 999 parameters


def prepared(connection: Connection, statement: str) -> str:
    """Give the statement in the driver's parameter style."""
    return statement if connection.dialect.name == "sqlite" else statement.replace("?", "%s")


def run_many(connection: Connection, statement: str, rows: Sequence[Row]) -> None:
    """Run a statement once per row; does nothing without rows."""
    if rows:
        with closing(connection.connection.cursor()) as cursor:
            cursor.executemany(prepared(connection, statement), rows)


def fetch_all(connection: Connection, statement: str, values: Row = ()) -> list[Row]:
    """Run a query and give its rows."""
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute(prepared(connection, statement), values)
        return list(cursor.fetchall())


def select_in(connection: Connection, head: str, keys: Iterable[int]) -> Iterator[Row]:
    """Run `head`, which ends with "IN", for all keys, some hundred at a time."""
    left = iter(keys)
    while chunk := tuple(islice(left, _IN_AT_ONCE)):
        # Padded to two lengths, so that the driver keeps two prepared statements and not 500.
        width = 20 if len(chunk) <= 20 else _IN_AT_ONCE
        padded = chunk + (chunk[-1],) * (width - len(chunk))
        yield from fetch_all(connection, f"{head} ({', '.join('?' * width)})", padded)


def insert(table: Table, columns: Sequence[str]) -> str:
    """Write an INSERT of these columns."""
    values = ", ".join("?" * len(columns))
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({values})"  # noqa: S608 - names


def add_up(table: Table, keys: Sequence[str], sums: Sequence[str]) -> str:
    """Write an INSERT that adds to the row with the same key where there is one."""
    added = ", ".join(f"{name} = {table.name}.{name} + excluded.{name}" for name in sums)
    return f"{insert(table, [*keys, *sums])} ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {added}"


def update(table: Table, columns: Sequence[str]) -> str:
    """Write an UPDATE of these columns by id (the last parameter)."""
    changed = ", ".join(f"{name} = ?" for name in columns)
    return f"UPDATE {table.name} SET {changed} WHERE id = ?"  # noqa: S608 - names only

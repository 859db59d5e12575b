"""The ledger's door: one process, whole transactions, migrations that are all or nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData, event, inspect, select

from relay.errors import ConfigError, StorageError
from relay.ledger import tables
from relay.ledger.engine import LedgerBusyError, open_ledger
from relay.ledger.settings_tables import settings_metadata


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Give the URL of a ledger that does not exist yet."""
    return f"sqlite:///{tmp_path / 'ledger.sqlite'}"


def put(connection: Connection, spool: str = "a") -> None:
    """Write one mark."""
    connection.execute(tables.marks.insert().values(spool=spool, seq=1))


def marks(connection: Connection) -> list[str]:
    """Read the marks."""
    return list(connection.scalars(select(tables.marks.c.spool)))


async def test_what_is_written_is_there_after_reopening(url: str) -> None:
    """And the second opening migrates nothing."""
    async with open_ledger(url) as ledger:
        await ledger.write(put)
        assert await ledger.read(marks) == ["a"]
    async with open_ledger(url) as ledger:
        assert await ledger.read(marks) == ["a"]


async def test_only_one_process_has_it(url: str) -> None:
    """The lock goes with the holder."""
    async with open_ledger(url):
        with pytest.raises(LedgerBusyError, match="in use by another process"):
            async with open_ledger(url):
                pass
    async with open_ledger(url):
        pass


async def test_a_failed_transaction_leaves_nothing(url: str) -> None:
    """What the work raises comes out, what it wrote does not stay, the ledger goes on."""

    def fail(connection: Connection) -> None:
        put(connection)
        raise KeyError("no")

    async with open_ledger(url) as ledger:
        with pytest.raises(KeyError):
            await ledger.write(fail)
        assert await ledger.read(marks) == []
        await ledger.write(put)
        with pytest.raises(StorageError, match="UNIQUE"):
            await ledger.write(put)


async def test_a_read_cannot_write(url: str) -> None:
    """Readers open the file read-only: they neither write nor checkpoint."""
    async with open_ledger(url) as ledger:
        with pytest.raises(StorageError, match="readonly"):
            await ledger.read(put)


async def test_a_cancelled_write_is_whole(url: str) -> None:
    """Who stops waiting does not stop the transaction."""
    async with open_ledger(url) as ledger:
        started = asyncio.Event()
        loop = asyncio.get_running_loop()

        def slowly(connection: Connection) -> None:
            loop.call_soon_threadsafe(started.set)
            for number in range(200):
                put(connection, f"s{number:03}")

        task = asyncio.create_task(ledger.write(slowly))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await ledger.write(lambda _: None)  # the next one waits its turn
        assert len(await ledger.read(marks)) == 200


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite://", "nonsense", "sqlite+aiosqlite:///x"])
async def test_other_urls_are_refused(url: str) -> None:
    """With what was expected."""
    with pytest.raises(ConfigError, match="expected sqlite:///PATH or postgresql"):
        async with open_ledger(url):
            pass


async def test_a_newer_ledger_is_refused(url: str, tmp_path: Path) -> None:
    """A schema this version does not know is not touched."""
    async with open_ledger(url):
        pass
    with sqlite3.connect(tmp_path / "ledger.sqlite") as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()
    with pytest.raises(StorageError, match="schema 9999"):
        async with open_ledger(url):
            pass


async def test_a_file_that_is_no_database_is_refused(url: str, tmp_path: Path) -> None:
    """As a storage error that names it."""
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StorageError, match=r"ledger\.sqlite"):
        async with open_ledger(url):
            pass


async def test_a_broken_migration_leaves_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every revision is in one transaction: none of it stays when the last one fails."""

    def broken(connection: Connection) -> None:
        connection.exec_driver_sql("CREATE TABLE half (id INTEGER)")
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr("relay.ledger.engine.migrate", broken)
    with pytest.raises(StorageError, match="disk I/O error"):
        async with open_ledger(url):
            pass
    monkeypatch.undo()
    async with open_ledger(url) as ledger:
        names = await ledger.read(lambda c: inspect(c).get_table_names())
        assert "half" not in names
        assert "events" in names


async def test_control_a_migration_outside_a_transaction_is_noticed(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P18: the check above fails where each statement is committed by itself."""
    honest = event.listen

    def listen(target: object, name: str, told: Callable[..., object], **how: bool) -> None:
        if name != "begin":
            honest(target, name, told, **how)

    monkeypatch.setattr("relay.ledger.engine.event.listen", listen)
    with pytest.raises(AssertionError, match="half"):
        await test_a_broken_migration_leaves_nothing(url, pytest.MonkeyPatch())


async def test_migrations_make_what_the_code_expects(url: str) -> None:
    """The chain of revisions ends at the tables in `tables.py` and `settings_tables.py`."""

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(
            connection, opts={"include_object": lambda *of: of[2] != "table" or of[4] is not None}
        )  # tables of other modules are theirs to compare
        both = MetaData()
        for metadata in (tables.metadata, settings_metadata):
            for table in metadata.tables.values():
                table.to_metadata(both)
        return list(compare_metadata(context, both))

    async with open_ledger(url) as ledger:
        assert await ledger.read(differences) == []


async def test_commits_are_durable(url: str) -> None:
    """WAL with synchronous=FULL (2) on the connection that writes."""

    def pragmas(connection: Connection) -> tuple[object, object]:
        return (
            connection.exec_driver_sql("PRAGMA journal_mode").scalar(),
            connection.exec_driver_sql("PRAGMA synchronous").scalar(),
        )

    async with open_ledger(url) as ledger:
        assert await ledger.write(pragmas) == ("wal", 2)

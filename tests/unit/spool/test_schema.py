"""Schema steps happen whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.errors import StorageError
from relay.spool import schema
from relay.spool.database import Database

NEXT = (*schema.STEPS, ("CREATE TABLE more (id INTEGER PRIMARY KEY)", "DROP TABLE outbox"))
BROKEN = (*schema.STEPS, ("CREATE TABLE more (id INTEGER PRIMARY KEY)", "DROP TABLE nothing"))


def tables(database: Database) -> set[str]:
    return {name for (name,) in database.rows("SELECT name FROM sqlite_master WHERE type='table'")}


def test_a_step_that_breaks_off_leaves_the_version_before(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite"
    database = Database(path)
    schema.migrate(database)
    before = tables(database)
    with pytest.raises(StorageError, match="nothing"):
        schema.migrate(database, BROKEN)
    database.close()  # as a kill would
    database = Database(path)
    assert database.number("PRAGMA user_version") == schema.VERSION
    assert tables(database) == before
    schema.migrate(database, NEXT)
    assert database.number("PRAGMA user_version") == schema.VERSION + 1
    assert tables(database) == before - {"outbox"} | {"more"}
    with pytest.raises(StorageError, match=f"schema version {schema.VERSION + 1}; this program"):
        schema.migrate(database)
    database.close()


def test_control_steps_outside_a_transaction_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P18: the check above fails where each statement is committed by itself."""
    for word in ("begin", "commit"):
        monkeypatch.setattr(Database, word, lambda _self: None)
    with pytest.raises(AssertionError, match="more"):
        test_a_step_that_breaks_off_leaves_the_version_before(tmp_path)


def test_a_migrated_file_is_left_alone(tmp_path: Path) -> None:
    database = Database(tmp_path / "spool.sqlite")
    schema.migrate(database)
    schema.migrate(database)
    assert database.number("PRAGMA user_version") == schema.VERSION
    database.close()

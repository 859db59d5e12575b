"""A ledger that is up to date needs no Alembic; one that is not gets all revisions."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, create_engine, inspect

from relay.ledger.engine import open_ledger
from relay.ledger.migrate import newest_revision

FOLDER = Path(__file__).parents[3] / "relay/ledger/migrations"


def _all_metadata() -> set[MetaData]:
    """Give what the modules of tables declare."""
    names = [file.stem for file in FOLDER.parent.glob("*tables.py")]
    modules = [import_module(f"relay.ledger.{name}") for name in names]
    return {one for m in modules for one in vars(m).values() if isinstance(one, MetaData)}


_SECOND_START = """
import asyncio, sys
from relay.ledger.engine import open_ledger
async def main():
    async with open_ledger(sys.argv[1]):
        pass
asyncio.run(main())
sys.exit("alembic" in sys.modules)
"""


def test_files_are_named_after_their_revisions() -> None:
    assert newest_revision() == ScriptDirectory(str(FOLDER)).get_current_head()


async def test_only_the_first_start_imports_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    command = [sys.executable, "-c", _SECOND_START, url]
    first, second = (subprocess.run(command, check=False) for _ in range(2))  # noqa: ASYNC221
    assert (first.returncode, second.returncode) == (1, 0)
    async with open_ledger(url):
        pass


def test_revisions_do_not_follow_the_tables_of_today() -> None:
    """What a revision makes must not change when a table changes later."""
    for file in (FOLDER / "versions").glob("*.py"):
        assert "from relay" not in file.read_text(), file.name


def _columns(connection: Connection) -> dict[str, tuple[set[str], set[str | None]]]:
    """Give the columns and indexes of every table."""
    seen = inspect(connection)
    return {
        name: (
            {str(column["name"]) for column in seen.get_columns(name)},
            {index["name"] for index in seen.get_indexes(name)},
        )
        for name in seen.get_table_names()
    }


async def test_revisions_lead_to_the_tables_of_today(tmp_path: Path) -> None:
    made = create_engine(f"sqlite:///{tmp_path}/made.sqlite")
    with made.begin() as connection:
        for one in _all_metadata():
            one.create_all(connection)
        expected = _columns(connection)
    made.dispose()
    async with open_ledger(f"sqlite:///{tmp_path}/ledger.sqlite") as ledger:
        migrated = await ledger.read(_columns)
    del migrated["alembic_version"]
    assert migrated == expected

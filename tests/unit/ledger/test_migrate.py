"""A ledger that is up to date needs no Alembic; one that is not gets all revisions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from alembic.script import ScriptDirectory

from relay.ledger.engine import open_ledger
from relay.ledger.migrate import newest_revision

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
    folder = Path(__file__).parents[3] / "relay/ledger/migrations"
    assert newest_revision() == ScriptDirectory(str(folder)).get_current_head()


async def test_only_the_first_start_imports_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    command = [sys.executable, "-c", _SECOND_START, url]
    first, second = (subprocess.run(command, check=False) for _ in range(2))  # noqa: ASYNC221
    assert (first.returncode, second.returncode) == (1, 0)
    async with open_ledger(url):
        pass

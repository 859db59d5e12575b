"""P18: a process is killed while it makes or changes the ledger's tables; the next start finds them
as they were before or as they should be, and goes on.

For PostgreSQL the same follows from its transactional DDL: a broken migration leaves nothing
(`tests/unit/ledger/test_engine.py`).
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from relay.ledger.engine import open_ledger
from tests.harness.programs import need_program
from tests.harness.relay_under_test import ROOT

pytestmark = [pytest.mark.timeout(300), pytest.mark.long]
OPEN = """
import asyncio, sys
from relay.ledger.engine import open_ledger
async def main():
    async with open_ledger(sys.argv[1]):
        pass
asyncio.run(main())
"""
POINTS = [("fdatasync", range(1, 8)), ("pwrite64", range(1, 200, 12))]


def tables(path: Path) -> list[tuple[object, ...]]:
    """Give the schema, and whether the file is whole."""
    connection = sqlite3.connect(path)
    try:
        found = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name")
        return [*found.fetchall(), *connection.execute("PRAGMA integrity_check").fetchall()]
    finally:
        connection.close()


def open_killed(url: str, call: str, number: int) -> bool:
    """Open in a process that is killed at its nth call; True if it came to that."""
    inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"]
    command = [need_program("strace"), "-f", "-o", "/dev/null", *inject, sys.executable, "-c", OPEN]
    said = subprocess.run([*command, url], cwd=ROOT, check=False, capture_output=True)
    return said.returncode != 0


@pytest.mark.parametrize(("call", "numbers"), POINTS, ids=lambda value: str(value)[:9])
async def test_a_kill_during_migration_is_gone_with_the_next_start(
    tmp_path: Path, call: str, numbers: range
) -> None:
    async with open_ledger(f"sqlite:///{tmp_path / 'whole.sqlite'}"):
        pass
    expected, killed = tables(tmp_path / "whole.sqlite"), 0
    for number in numbers:
        path = tmp_path / f"{number}.sqlite"
        if not open_killed(f"sqlite:///{path}", call, number):
            break
        killed += 1
        async with open_ledger(f"sqlite:///{path}"):
            pass
        assert tables(path) == expected, f"killed at {call} {number}"
    assert killed

"""P17: a backup taken while the relay runs, restored elsewhere: logins work, what waited is sent.

The order matters: the database of a spool first, then its segments, which only grow; the ledger by
SQLite's own backup. What was sent after the backup was taken is sent again by the copy.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from pathlib import Path

import pytest

from relay.sandbox.sink import Sink
from tests.harness.driver import Driver
from tests.harness.ledger_file import LedgerFile, read_ledger
from tests.harness.mails import Mix, mails
from tests.harness.provision import provision, submission_door
from tests.harness.relay_under_test import RelayUnderTest

pytestmark = [pytest.mark.timeout(240), pytest.mark.long]
MIX = Mix(sending_domain="plain.test")


def databases(source: Path, target: Path) -> None:
    """Copy what a running relay cannot do without, but for contents."""
    shutil.copytree(source / "keys", target / "keys")
    for path in [*source.glob("spool/*/spool.sqlite"), source / "ledger.sqlite"]:
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        here = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        there = sqlite3.connect(copy)
        here.backup(there)
        here.close()
        there.close()


def contents(source: Path, target: Path) -> None:
    """Copy the segments."""
    for segments in source.glob("spool/*/segments"):
        shutil.copytree(segments, target / segments.relative_to(source))


@pytest.mark.parametrize("too_early", [False, True])
async def test_what_a_backup_held_is_sent(tmp_path: Path, too_early: bool) -> None:
    """P17, and the control: a backup whose contents were copied before its databases."""
    nowhere = {"delivery": {"mode": "smarthost", "smarthost": "127.0.0.1:1"}}
    sink = Sink(tmp_path / "sink.jsonl")
    host, port = await sink.start()
    there = {"delivery": {"mode": "smarthost", "smarthost": f"{host}:{port}"}}
    ledger = tmp_path / "ledger"
    try:
        async with RelayUnderTest(tmp_path / "old", settings=nowhere, workers=2) as old:
            tenant = await provision(old, untracked=("plain.test",))
            new = RelayUnderTest(tmp_path / "new", settings=there, workers=2)
            if too_early:
                await asyncio.to_thread(contents, old.data_dir, new.data_dir)
            with LedgerFile(ledger) as file:
                driver = Driver(submission_door(old, tenant), file)
                await driver.run(mails("before", 40, seed=1, mix=MIX))
                held = read_ledger(ledger)
                during = asyncio.create_task(driver.run(mails("during", 60, seed=2, mix=MIX)))
                await asyncio.to_thread(databases, old.data_dir, new.data_dir)
                if not too_early:
                    await asyncio.to_thread(contents, old.data_dir, new.data_dir)
                await during
            await old.crash()
        wanted = held.addresses(held.acknowledged)
        assert len(wanted) == 40
        async with new:

            async def arrived() -> bool:
                return wanted <= {who for got in sink.got for who in got.recipients}

            if too_early:
                with pytest.raises(AssertionError, match="for what the backup held"):
                    await new.until(arrived, "what the backup held to arrive", 5)
                return
            await new.until(arrived, "what the backup held to arrive", 60)
            with LedgerFile(tmp_path / "second") as file:
                driver = Driver(submission_door(new, tenant), file)
                course = await driver.run(mails("after", 5, seed=3, mix=MIX), connections=1)
            assert course.acknowledged == 5
    finally:
        await sink.close()

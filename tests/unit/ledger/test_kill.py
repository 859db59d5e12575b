"""A process that folds is killed at any moment: what it acknowledged is there, and only once."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from metrics.events import Event
from relay.ledger.engine import open_ledger
from relay.ledger.fold import Folder
from relay.ledger.sums import check_sums
from relay.spool.protocol import Batch
from tests.harness.facts import START, BurstRule, batches, life, picture

ROOT = Path(__file__).parents[3]
KILLS = 4
_FOLDING = """
import asyncio, sys
from relay.ledger.engine import open_ledger
from relay.ledger.fold import Folder
from tests.harness.facts import BurstRule
from tests.unit.ledger.test_kill import outbox

async def fold(url):
    async with open_ledger(url) as ledger:
        folder = Folder(ledger, BurstRule())
        sent = await folder.mark("spool")
        for batch in outbox()[sent:]:
            print(await folder.fold("spool", [batch]), flush=True)

asyncio.run(fold(sys.argv[1]))
"""


def outbox() -> list[Batch]:
    """Make the same batches in every process."""
    rng = random.Random(8)  # noqa: S311 - a repeatable life
    events: list[Event] = []
    for number in range(1, 150):
        events += [event for facts in life(rng, number, START) for event in facts]
    return batches(events, size=2)


def fold_until_killed(url: str, rng: random.Random) -> int:
    """Start folding, kill -9 after some acknowledgements; gives the last mark that was told."""
    with subprocess.Popen(
        [sys.executable, "-c", _FOLDING, url], stdout=subprocess.PIPE, cwd=ROOT, text=True
    ) as child:
        assert child.stdout is not None
        told = 0
        wanted = rng.randrange(1, 25)
        for line in child.stdout:
            told = int(line)
            wanted -= 1
            if wanted == 0:
                child.kill()
                break
        return max([told, *map(int, child.stdout)])


async def test_a_killed_fold_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """After each kill the mark is at least what was acknowledged; in the end all is as if in one
    go."""
    url = f"sqlite:///{tmp_path / 'killed.sqlite'}"
    rng = random.Random(1)  # noqa: S311 - repeatable kills
    for _ in range(KILLS):
        told = fold_until_killed(url, rng)
        async with open_ledger(url) as ledger:
            assert await Folder(ledger).mark("spool") >= told > 0
            assert await check_sums(ledger) == []
    every = outbox()
    pictures = []
    for path in (url, f"sqlite:///{tmp_path / 'whole.sqlite'}"):
        async with open_ledger(path) as ledger:
            folder = Folder(ledger, BurstRule())
            for start in range(0, len(every), 20):
                await folder.fold("spool", every[start : start + 20])
            assert await check_sums(ledger) == []
            pictures.append(await picture(ledger))
    for part in pictures[0]:
        assert pictures[0][part] == pictures[1][part], part

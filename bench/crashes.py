"""`python -m bench.crashes`: kill runs from many seeds, one table row each, totals at
the end.

python -m bench.crashes [--seeds 50] [--first 0] [--messages 400] [--kills 4] [--keep
DIR]

Exit status 1 if a promise was broken anywhere. The rows are Markdown, as `docs/reliability.md`
wants them.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.harness.crash_run import Outcome, Scene, crash_run
from tests.harness.gremlin import plan

VICTIMS = (
    ("worker-0", "worker-1"),
    ("control",),
    ("supervisor",),
    ("worker-0", "worker-1", "control", "supervisor"),
)
COLUMNS = (
    "seed", "kills", "killed", "tried", "acknowledged", "arrived", "recovered", "lost",
    "unexpected", "duplicated", "damaged", "recovery s",
)  # fmt: skip


def row(seed: int, outcome: Outcome) -> list[object]:
    """Give the figures of one run in the order of the columns."""
    summary = outcome.summary
    seconds = f"{summary['recovery_seconds']:.1f}"
    return [seed, *(summary[name] for name in COLUMNS[1:-1]), seconds]


def line(cells: list[object]) -> str:
    """Write one row of the table."""
    return "| " + " | ".join(map(str, cells)) + " |"


async def runs(options: argparse.Namespace, folder: Path) -> list[str]:
    """Run every seed, print its row; give what was broken."""
    totals = dict.fromkeys(COLUMNS[1:-1], 0)
    broken: list[str] = []
    print(line(list(COLUMNS)))
    print("|" + "---|" * len(COLUMNS), flush=True)
    for seed in range(options.first, options.first + options.seeds):
        names = VICTIMS[seed % len(VICTIMS)]
        strikes = plan(seed, names, options.messages, options.kills)
        scene = Scene(messages=options.messages, strikes=strikes, seed=seed, seconds=120)
        outcome = await crash_run(folder / str(seed), scene)
        cells = row(seed, outcome)
        print(line(cells), flush=True)
        for name, cell in zip(COLUMNS, cells, strict=True):
            if isinstance(cell, int) and name in totals:
                totals[name] += cell
        broken += (f"seed {seed}: {what}" for what in outcome.broken)
    print(line(["all", *(totals[name] for name in COLUMNS[1:-1]), ""]))
    return broken


def main() -> None:
    """Run and say what was broken."""
    parser = argparse.ArgumentParser(prog="python -m bench.crashes")
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--messages", type=int, default=400)
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--keep", type=Path, help="leave ledgers, records and data here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="waypost-crash-") as scratch:
        broken = asyncio.run(runs(options, options.keep or Path(scratch)))
    for what in broken:
        print(f"BROKEN {what}")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()

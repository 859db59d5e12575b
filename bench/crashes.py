"""`python -m bench.crashes`: kill runs from many seeds, one table row each, then their sum by kind
of load and by whom the kills struck.

python -m bench.crashes [--seeds 84] [--first 0] [--kills 7] [--rows FILE] [--keep DIR]
python -m bench.crashes --sum FILE [FILE ...]

The kinds of load, and what a seed decides, stand in `tests/harness/loads.py`: 84 seeds in a row
take every combination of load, victim and number of workers once. `--rows` appends each row to a
file, `--sum` prints the table of such files without running anything. Exit status 1 if a promise
was broken anywhere. The tables are Markdown, as `docs/reliability.md` wants them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.harness.crash_run import crash_run
from tests.harness.loads import LOADS, VICTIMS, load_of, scene_of, victims_of

FIGURES = (
    "kills", "tried", "acknowledged", "arrived", "recovered", "lost", "unexpected", "duplicated",
    "uncertain", "damaged", "broken",
)  # fmt: skip
COLUMNS = ("seed", "load", "victims", "workers", *FIGURES, "recovery s", "seconds")
SUMMED = ("load", "kills strike", "runs", *FIGURES, "recovery s")

Row = dict[str, object]


async def run(seed: int, kills: int, share: float, folder: Path) -> tuple[Row, list[str]]:
    """Run one seed; gives its row and what was broken."""
    began = time.monotonic()
    outcome = await crash_run(folder / str(seed), scene_of(seed, kills, share))
    summary, broken = outcome.summary, outcome.broken
    row: Row = {
        "seed": seed,
        "load": load_of(seed).name,
        "victims": victims_of(seed),
        "workers": 1 + seed % 3,
        **{name: summary[name] for name in FIGURES if name in summary},
        "broken": len(broken),
        "recovery s": summary["recovery_seconds"],
        "seconds": time.monotonic() - began,
    }
    return row, [f"seed {seed}: {what}" for what in broken]


def line(cells: Iterable[object]) -> str:
    """Write one row of a table."""
    written = (f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in cells)
    return "| " + " | ".join(written) + " |"


def head(columns: Sequence[str]) -> str:
    """Write what stands above the rows."""
    return f"{line(columns)}\n|{'---|' * len(columns)}"


def summed(rows: Sequence[Row]) -> str:
    """Write the table of all rows, by kind of load and victims."""
    lines = [head(SUMMED)]
    for load in LOADS:
        for victims in VICTIMS:
            these = [r for r in rows if (r["load"], r["victims"]) == (load.name, victims)]
            if these:
                lines.append(line((load.name, victims, *_sums(these))))
    return "\n".join([*lines, line(("all", "", *_sums(rows)))])


def _sums(rows: Sequence[Row]) -> list[object]:
    sums = (sum(int(str(row[name])) for row in rows) for name in FIGURES)
    return [len(rows), *sums, max(float(str(row["recovery s"])) for row in rows)]


async def runs(options: argparse.Namespace, folder: Path) -> list[str]:
    """Run every seed, print its row, then the sum; give what was broken."""
    rows: list[Row] = []
    broken: list[str] = []
    print(head(COLUMNS), flush=True)
    for seed in range(options.first, options.first + options.seeds):
        row, wrong = await run(seed, options.kills, options.share, folder)
        print(line(row[name] for name in COLUMNS), flush=True)
        for what in wrong:
            print(f"BROKEN {what}", flush=True)
        rows.append(row)
        broken += wrong
        if options.rows is not None:
            with options.rows.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    print(f"\n{summed(rows)}")
    return broken


def read_rows(files: Iterable[Path]) -> list[Row]:
    """Read what `--rows` wrote."""
    return [json.loads(each) for file in files for each in file.read_text("utf-8").splitlines()]


def main() -> None:
    """Run, or sum up, and say what was broken."""
    parser = argparse.ArgumentParser(prog="python -m bench.crashes")
    parser.add_argument("--seeds", type=int, default=84)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--kills", type=int, default=7, help="of one run")
    parser.add_argument("--share", type=float, default=1.0, help="of a load's messages")
    parser.add_argument("--rows", type=Path, help="append each row to this file")
    parser.add_argument("--sum", type=Path, nargs="+", help="files of rows to sum up")
    parser.add_argument("--keep", type=Path, help="leave ledgers, records and data here")
    options = parser.parse_args()
    if options.sum:
        rows = read_rows(options.sum)
        print(summed(rows))
        sys.exit(1 if any(row["broken"] for row in rows) else 0)
    with tempfile.TemporaryDirectory(prefix="waypost-crash-") as scratch:
        broken = asyncio.run(runs(options, options.keep or Path(scratch)))
    for what in broken:
        print(f"BROKEN {what}")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()

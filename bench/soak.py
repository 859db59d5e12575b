"""`python -m bench.soak [--rounds 60] [--each 200]`: a relay under churn, one row for
each round, then what grew (status 1 if anything did).

A round is so many connections with a mail each (`tests/harness/soak.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from dataclasses import fields
from pathlib import Path

from tests.harness.crash_stage import CrashStage
from tests.harness.soak import Held, grown, soak


async def run(rounds: int, each: int, folder: Path) -> list[str]:
    """Work, print, and give what grew or was broken."""
    names = [each.name.replace("_", " ") for each in fields(Held)]
    print("| " + " | ".join(names) + " |\n|" + "---|" * len(names), flush=True)
    rows = []
    async with CrashStage(folder, passwordless=True) as stage:
        async for row in soak(stage, rounds, each):
            rows.append(row)
            print(row, flush=True)
        verdict = await stage.verdict(duplicates=0)
    return grown(rows) + verdict.broken


def main() -> None:
    """Run, and say what grew."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--each", type=int, default=200, help="connections of a round")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="waypost-soak-") as scratch:
        wrong = asyncio.run(run(options.rounds, options.each, Path(scratch) / "run"))
    for what in wrong:
        print(f"BROKEN {what}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()

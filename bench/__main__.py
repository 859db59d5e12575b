"""`python -m bench`: Waypost and Postfix, interleaved, and the stages one by one; writes
`bench/out/report.md`.

python -m bench [--rounds 5] [--scale 1.0] [--workers 1 2] [--only "40 KB"] [--no-stages]
[--no-peer]

Needs root and Debian's postfix package; signed mail is also compared with Postfix and Debian's
opendkim where that is installed (services of both need not run). Everything runs on loopback in
a temporary directory, which is removed at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import signal
import tempfile
import time
from pathlib import Path

from bench.cases import CASES, Case
from bench.contenders import (
    Contender,
    PostfixContender,
    SigningPostfixContender,
    WaypostContender,
)
from bench.measure import Run, RunError, measure
from bench.opendkim import installed
from bench.report import SIGNING_PEER, report
from bench.stages import collect

OUT = Path(__file__).parent / "out"


async def compare(options: argparse.Namespace, root: Path) -> list[Run]:
    """Start everybody once, then take turns."""
    contenders = _contenders(options, root)
    cases = [case for case in CASES if options.only in case.name]
    runs: list[Run] = []
    task = asyncio.current_task()
    if task is not None:  # a bench that is told to end stops what it started
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        for contender in contenders:
            await contender.start()
        for case in cases:
            for number in range(options.rounds + 1):
                for contender in contenders:
                    if contender.name == SIGNING_PEER and not case.tracked:
                        continue
                    run = await _turn(contender, case, root, options.scale, warm=number == 0)
                    if run is not None and number:
                        runs.append(run)
    finally:
        for contender in contenders:
            await contender.stop()
    return runs


def _contenders(options: argparse.Namespace, root: Path) -> list[Contender]:
    found: list[Contender] = []
    if not options.no_peer:
        found.append(PostfixContender(root))
        if installed():
            found.append(SigningPostfixContender(root))
        else:
            print("without opendkim: install Debian's package of that name", flush=True)
    return found + [WaypostContender(root, n) for n in options.workers]


async def _turn(
    contender: Contender, case: Case, root: Path, scale: float, *, warm: bool
) -> Run | None:
    messages = max(200, int(case.messages * scale * (0.2 if warm else 1)))
    try:
        run = await measure(contender, case, root, messages)
    except (RunError, TimeoutError) as problem:
        print(f"{case.name}, {contender.name}: cannot be counted: {problem}", flush=True)
        return None
    word = "warm-up" if warm else "run"
    print(
        f"{case.name:26} {contender.name:20} {word:8} {run.rate:7.0f}/s  {run.cpu_ms:.3f} ms",
        flush=True,
    )
    return run


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="times the usual messages")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", default="", help="only cases whose name holds this")
    parser.add_argument("--no-stages", action="store_true")
    parser.add_argument("--no-peer", action="store_true", help="without Postfix")
    options = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="waypost-bench-") as folder:
        root = Path(folder)
        root.chmod(0o755)  # Postfix's processes run as another user
        runs = asyncio.run(compare(options, root))
    stages = {} if options.no_stages else collect()
    (OUT / "runs.json").write_text(json.dumps([dataclasses.asdict(run) for run in runs], indent=1))
    text = report(runs, stages)
    (OUT / "report.md").write_text(text, encoding="utf-8")
    print(text)
    print(f"{os.path.relpath(OUT / 'report.md')} written after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()

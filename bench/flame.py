"""Where the time goes: a sampling profile of a Waypost process under one of the bench's loads.

python -m bench.flame "40 KB tracked and signed" [--process worker-0] [--messages 3000] [--out
bench/out]

Needs py-spy on the PATH (an environment of its own will do: it is no dependency) and the right to
trace processes. Writes the sampled stacks in the collapsed form that flame graph viewers read, and
prints the functions with the largest shares, own and with what they call.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from bench.cases import CASES, Case
from bench.contenders import WaypostContender
from bench.measure import Run, measure
from tests.harness.relay_under_test import ROOT


async def profile(options: argparse.Namespace, case: Case, root: Path) -> tuple[Run, Path]:
    """Load a relay with one worker while py-spy samples; give the figures and the raw samples."""
    py_spy = shutil.which("py-spy")
    if py_spy is None:
        sys.exit("py-spy is not on the PATH: python3 -m venv v && v/bin/pip install py-spy")
    raw = root / "samples"
    contender = WaypostContender(root, 1)
    await contender.start()
    try:
        await measure(contender, case, root, 300)
        sampler = await asyncio.create_subprocess_exec(
            *(py_spy, "record", "-p", str(contender.relay.pids()[options.process])),
            *("-r", "250", "-f", "raw", "-o", str(raw), "--nonblocking", "-d", "600"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        run = await measure(contender, case, root, options.messages)
        sampler.send_signal(2)
        await sampler.wait()
    finally:
        await contender.stop()
    return run, raw


def shares(raw: Path) -> tuple[int, Counter[str], Counter[str]]:
    """Count samples: all, by the function that ran, and by every function on the stack."""
    samples, own, within = 0, Counter[str](), Counter[str]()
    for line in raw.read_text(encoding="utf-8").splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [frame.rpartition(":")[0] for frame in stack.split(";")]
        samples += int(count)
        own[frames[-1]] += int(count)
        for frame in set(frames):
            within[frame] += int(count)
    return samples, own, within


def main() -> None:
    """Profile and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.flame")
    parser.add_argument("case", choices=[case.name for case in CASES])
    parser.add_argument("--process", default="worker-0")
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--top", type=int, default=30)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out")
    options = parser.parse_args()
    case = next(case for case in CASES if case.name == options.case)
    with tempfile.TemporaryDirectory(prefix="waypost-flame-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        run, raw = asyncio.run(profile(options, case, root))
        samples, own, within = shares(raw)
        options.out.mkdir(exist_ok=True)
        kept = options.out / f"{options.process}-{case.name.replace(' ', '-')}.stacks"
        shutil.copy(raw, kept)
    print(f"{run.rate:.0f} messages/s, {run.cpu_ms:.3f} ms, of it {run.shares}")
    for title, counts in (("own time", own), ("with what it calls", within)):
        print(f"\n{title}")
        for name, count in counts.most_common(options.top):
            print(f"  {count / samples:6.1%}  {name}")
    print(f"\nstacks in {kept}: any flame graph viewer reads them")


if __name__ == "__main__":
    main()

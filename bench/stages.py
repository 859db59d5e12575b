"""Runs every `stage_*.py` of this folder in a process of its own and collects what each prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.harness.relay_under_test import ROOT


def collect(seconds: float = 300.0) -> dict[str, str]:
    """Give the output by module name; one that fails says so in its place."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("stage_*.py")):
        name = f"bench.{path.stem}"
        try:
            said = subprocess.run(  # noqa: S603 - our own modules
                [sys.executable, "-m", name],
                cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            found[name] = f"took longer than {seconds:.0f} s"
            continue
        problem = said.stderr[-500:] if said.returncode else ""
        found[name] = said.stdout + problem
    return found

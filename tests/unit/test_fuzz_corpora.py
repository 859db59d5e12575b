"""What coverage-guided fuzzing has found interesting is read again: nothing may break by it."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BREAKS = ROOT / "tests" / "harness" / "breaks"
KEPT = sorted((ROOT / "tests" / "data" / "fuzz").glob("*.txt"))


def test_corpora_are_kept() -> None:
    assert [path.stem for path in KEPT] == ["delivery", "submission"]


@pytest.mark.long
@pytest.mark.parametrize("broken", ["", "lose-cr"])
@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_kept_inputs_break_nothing(path: Path, broken: str, tmp_path: Path) -> None:
    """One input in base64 on each line; `bench/fuzz_NAME.py` reads each once and stops.

    The control: readers that forget a CR at the end of a chunk are found out.
    """
    pytest.importorskip("atheris")
    for number, line in enumerate(path.read_text("ascii").splitlines()):
        (tmp_path / f"{number:04}").write_bytes(base64.b64decode(line, validate=True))
    found = subprocess.run(
        [
            *(sys.executable, "-m", f"bench.fuzz_{path.stem}", "-runs=0"),
            *(f"-artifact_prefix={tmp_path}/", tmp_path),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{BREAKS}:{ROOT}", "WAYPOST_BREAK": broken},
        capture_output=True,
        check=False,
    )
    assert (found.returncode != 0) is bool(broken), found.stderr[-3000:]
    assert (b"AssertionError" in found.stdout + found.stderr) is bool(broken)

"""The list of cases in docs/delivery.md: every case is in it, and every test it names is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CASES = [f"S{n:02}" for n in (1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15, 17, 18, 19)]
CASES += [f"N{n:02}" for n in range(1, 9)]
_ROW = re.compile(r"(?m)^\| ([SN]\d\d) \|.*\| (.*) \|$")
_TEST = re.compile(r"(?:(mx|policies|senders|patience): )?`(test_\w+)`")


def test_every_case_is_shown_by_tests_that_exist() -> None:
    rows = _ROW.findall((ROOT / "docs" / "delivery.md").read_text(encoding="utf-8"))
    assert [case for case, _ in rows] == CASES
    missing = []
    for case, shown in rows:
        named = _TEST.findall(shown)
        assert named, case
        for file, test in named:
            sister = "delivery" if file == "mx" else file
            files = (
                [ROOT / "tests" / "integration" / f"test_mx_{sister}.py"]
                if file
                else sorted((ROOT / "tests" / "unit" / "delivery").glob("test_*.py"))
            )
            if not any(f"def {test}(" in path.read_text(encoding="utf-8") for path in files):
                missing.append((case, test))
    assert missing == []

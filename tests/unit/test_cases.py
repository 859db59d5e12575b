"""The tables of cases name what exists; every case of the plan is shown or said to be missing, and
the missing ones are printed.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RELIABILITY = (ROOT / "docs" / "reliability.md").read_text("utf-8")
DELIVERY = (ROOT / "docs" / "delivery.md").read_text("utf-8")
PLAN = {
    "P": (1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15, 17, 18, 19, 21),
    "S": (1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15, 17, 18, 19),
    "N": (1, 2, 3, 4, 5, 6, 7, 8),
    "K": (1, 2, 3, 4),
    "G": (1, 2, 3, 4, 5),
    "L": (1, 2, 3, 5, 6, 7, 9, 10),
    "F": (1, 2, 3, 4, 5, 6, 7),
}
ROWS = re.findall(r"(?m)^\| ([PSNKGLF]\d\d) \| (.*) \|$", RELIABILITY + DELIVERY)


def test_every_case_of_the_plan_is_shown_or_said_to_be_missing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan = {f"{kind}{number:02}" for kind, numbers in PLAN.items() for number in numbers}
    assert plan == {case for case, _ in ROWS}
    missing = [(case, why) for case, why in ROWS if "`" not in why]
    with capsys.disabled():
        for case, why in missing:
            print(f"\nnot built: {case}, {why}", end="")  # noqa: T201 - the list is the point


def named() -> list[Path]:
    """Give the files that the tables name."""
    found = []
    for case, row in ROWS:
        for name in re.findall(r"`([a-z_/]+\.py)`", row):
            folder = ROOT if "/" in name else ROOT / "tests" / "crash"
            if case[0] not in "SN":
                found.append(folder / name)
    return found


def test_what_the_tables_name_exists() -> None:
    assert len(named()) > 20
    assert [str(path) for path in named() if not path.exists()] == []


def test_tests_that_are_named_exist() -> None:
    """By function, as the table of delivery has them."""
    source = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    wanted = {name for _, row in ROWS for name in re.findall(r"`(test_[a-z0-9_]+)`", row)}
    assert [name for name in sorted(wanted) if f"def {name}(" not in source] == []


def test_the_page_on_security_names_what_exists() -> None:
    page = (ROOT / "SECURITY.md").read_text("utf-8")
    names = re.findall(r"`((?:tests|deploy)/[a-z_/.*]+)`", page)
    assert len(names) > 10
    assert [name for name in names if not list(ROOT.glob(name.rstrip("/")))] == []

"""Regular expressions that mean the same in every Python that we run on.

Python 3.11.0 to 3.11.4 (Debian 12 has 3.11.2) go on behind what a possessive group looked at and
did not take: `(?:(?!x)[ab])*+x` does not match "abx" there. An atomic group around an ordinary
repetition, `(?>(?:...)*)`, says the same and is right everywhere; possessive repetition of single
characters is right as well.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
POSSESSIVE_GROUP = re.compile(r"\)(?:[*+?]|\{[0-9,]+\})\+")


def test_no_pattern_repeats_a_group_possessively() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for folder in ("relay", "tracking", "bounces", "metrics")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        if POSSESSIVE_GROUP.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("pattern", [r"(?:ab)*+", r"(?:a|b)++c", r"(?:a)?+", r"(a){2,3}+"])
def test_what_is_looked_for_is_found(pattern: str) -> None:
    assert POSSESSIVE_GROUP.search(pattern)


def test_the_atomic_form_is_right_here() -> None:
    assert re.match(r"(?>(?:(?!x)[ab])*)x", "abx")
    assert not re.fullmatch(r"a(?>(?:\.a++)*)", "a.")

"""Every class of bad input has a case that can be found by its id."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from tests.harness.bad_mails import bad_mails
from tests.harness.bad_returns import bad_returns

TESTS = Path(__file__).parents[1]
DATA = TESTS / "data" / "bad_inputs"
CATALOGUE = tomllib.loads((DATA / "catalogue.toml").read_text("utf-8"))
SHOWN: dict[str, list[str]] = CATALOGUE.pop("shown")
IDS = {id_ for group in CATALOGUE.values() for id_ in group}


def _rows() -> set[str]:
    """Give the ids that rows of data begin with."""
    names = [
        str(row["id"])
        for table in ("commands", "auth", "addresses")
        for row in tomllib.loads((DATA / f"{table}.toml").read_text("utf-8"))["row"]
    ]
    names += [row.id for row in bad_mails()] + [row.id for row in bad_returns()]
    names += re.findall(
        r'(?m)^    "(E\d\d)": ', (TESTS / "unit/submission/test_bad_content.py").read_text("utf-8")
    )
    return {found[0] for name in names if (found := re.match(r"[ACDEMB]\d\d\b", name))}


def missing(
    ids: set[str], rows: set[str], shown: dict[str, list[str]], tests: set[str]
) -> set[str]:
    """Give the ids without a case: neither rows nor tests that exist."""
    by_test = {id_ for id_, names in shown.items() if names and tests.issuperset(names)}
    return ids - rows - by_test | {
        id_ for id_, names in shown.items() if not tests.issuperset(names)
    }


def _tests() -> set[str]:
    source = "".join(path.read_text("utf-8") for path in TESTS.rglob("test_*.py"))
    return set(re.findall(r"(?m)^\s*(?:async )?def (test_[a-z0-9_]+)\(", source))


def test_every_id_has_a_case() -> None:
    assert len(IDS) > 100
    assert missing(IDS, _rows(), SHOWN, _tests()) == set()


def test_ids_of_rows_and_tests_are_in_the_catalogue() -> None:
    of_others = {"A22", "A23"}  # weaknesses of plain aiosmtpd, tests/unit/submission
    assert _rows() - IDS - of_others == set()
    assert set(SHOWN) - IDS == set()


def test_an_id_without_a_case_and_a_test_that_is_gone_are_noticed() -> None:
    """The control."""
    assert missing({"C99"}, _rows(), {}, set()) == {"C99"}
    assert missing({"C01"}, {"C01"}, {"C01": ["test_gone"]}, {"test_here"}) == {"C01"}

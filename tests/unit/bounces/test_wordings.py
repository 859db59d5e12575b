"""Wordings of many systems and languages: the reason is right, and nobody is hard who is not.

The table was written before the rules were looked at, and what it found was then mended; what it
holds now is a floor, no measure of how new wordings fare (docs/returns.md says that).
"""

import re
import tomllib
from pathlib import Path

import pytest

from bounces.compose import failure
from bounces.judgement import HARD_REASONS

TABLE: dict[str, list[str]] = tomllib.loads(
    (Path(__file__).parent / "wordings.toml").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("reason", TABLE)
def test_wording_has_its_reason(reason: str) -> None:
    """As the diagnostic of a recipient refused at RCPT."""
    wrong = []
    for text in TABLE[reason]:
        record = failure("ann@inbox.test", text, stage="rcpt")
        if record.reason != reason:
            wrong.append((record.reason, record.rule, text))
    assert wrong == []


@pytest.mark.parametrize("reason", sorted(set(TABLE) - HARD_REASONS))
def test_what_is_not_about_the_address_is_never_hard(reason: str) -> None:
    """Whatever stands around it."""
    for text in TABLE[reason]:
        if reason != "filtered":
            assert failure("ann@inbox.test", text).category == "soft", text


def test_a_temporary_refusal_suppresses_nobody() -> None:
    """The same words under a temporary code are no reason to give an address up."""
    for text in TABLE["userunknown"]:
        later = re.sub(r"\b55\d\b", "450", text).replace("5.", "4.")
        if later.startswith("450"):
            assert failure("ann@inbox.test", later).category == "soft", later

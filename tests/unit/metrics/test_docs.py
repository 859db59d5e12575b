"""What can be asked and what is exposed is documented, name by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from metrics.catalogue import DIMENSIONS, describe
from metrics.prometheus import METRICS

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize(
    ("page", "names"),
    [("statistics.md", [*describe(), *DIMENSIONS]), ("metrics.md", list(METRICS))],
)
def test_nothing_is_undocumented(page: str, names: list[str]) -> None:
    """Each name stands in its page as code."""
    text = (DOCS / page).read_text(encoding="utf-8")
    assert [name for name in names if f"`{name}`" not in text] == []

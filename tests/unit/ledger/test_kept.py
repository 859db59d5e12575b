"""What is kept in memory of the ledger: what leaves first, and what counts."""

from __future__ import annotations

from relay.ledger.kept import Kept

SIZE = 10_000


def test_what_is_of_another_state_by_now_leaves_first() -> None:
    """It was kept last, but nobody will ever ask for it again."""
    kept = Kept(3 * SIZE)
    kept.put("used", 1, "A", SIZE)
    kept.put("changed", 1, "B", SIZE)
    assert kept.get("changed", 2) is None
    kept.put("new", 1, "C", SIZE)
    assert kept.get("used", 1) == "A"
    assert kept.get("changed", 1) is None


def test_what_was_not_used_for_longest_leaves_first() -> None:
    """A range that has passed is not asked for any more."""
    kept = Kept(3 * SIZE)
    kept.put("passed", 1, "A", SIZE)
    kept.put("used", 1, "B", SIZE)
    kept.get("used", 1)
    kept.put("new", 1, "C", SIZE)
    assert kept.get("passed", 1) is None
    assert kept.get("used", 1) == "B"


def test_names_and_states_count() -> None:
    """They may be larger than what is kept under them."""
    kept = Kept()
    kept.put(("days", *range(1_000, 2_000)), tuple(range(5_000, 6_000)), b"", 33)
    assert kept.size > 2_000 * 36
    kept.put(("days", *range(1_000, 2_000)), 1, b"", 33)
    assert kept.size < 1_000 * 50

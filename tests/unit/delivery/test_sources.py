"""Which address mail leaves from: in turn, by pool, and not more than a new address may."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

from relay.delivery.sources import DAILY, Sources
from relay.shared_table import SharedTable

FIRST = date(2026, 11, 1)


def sources(tmp_path: Path, day: int = 0, column: int = 0, **pools: tuple[str, ...]) -> Sources:
    tally = SharedTable(tmp_path / "table", column, 2, slots=64)
    return Sources(
        pools={"": (), **pools},
        warming={"192.0.2.9": FIRST},
        tally=tally,
        today=lambda: FIRST + timedelta(days=day),
    )


def test_without_addresses_the_system_chooses(tmp_path: Path) -> None:
    ours = sources(tmp_path)
    assert (ours.choose(""), ours.count("")) == ("", 1)
    assert ours.reserve("")


def test_addresses_take_turns_in_their_pool(tmp_path: Path) -> None:
    ours = sources(tmp_path, bulk=("192.0.2.1", "192.0.2.2"), other=("192.0.2.3",))
    assert [ours.choose("bulk") for _ in range(3)] == ["192.0.2.1", "192.0.2.2", "192.0.2.1"]
    assert ours.choose("other") == "192.0.2.3"
    assert ours.choose("unknown") == ""


def test_the_daily_cap_rises_and_ends() -> None:
    assert DAILY[0] == 50
    assert all(later > earlier for earlier, later in pairwise(DAILY))


def test_a_new_address_begins_so_many_mails_over_all_workers(tmp_path: Path) -> None:
    ours = sources(tmp_path, new=("192.0.2.9",))
    theirs = sources(tmp_path, column=1, new=("192.0.2.9",))
    begun = [one.reserve("192.0.2.9") for _ in range(30) for one in (ours, theirs)]
    assert sum(begun) == 50
    assert (ours.choose("new"), theirs.choose("new")) == (None, None)
    ours.give_back("192.0.2.9")
    assert theirs.reserve("192.0.2.9")


def test_each_day_has_its_own_count(tmp_path: Path) -> None:
    new = ("192.0.2.9",)
    first = sources(tmp_path, new=new)
    assert sum(first.reserve("192.0.2.9") for _ in range(99)) == 50
    assert sources(tmp_path, day=1, column=1, new=new).left("192.0.2.9") == DAILY[1]
    assert sources(tmp_path, day=30, column=1, new=new).left("192.0.2.9") == float("inf")
    assert sources(tmp_path, day=-1, column=1, new=new).choose("new") is None


def test_what_a_new_address_may_not_take_goes_by_the_others(tmp_path: Path) -> None:
    ours = sources(tmp_path, bulk=("192.0.2.9", "192.0.2.1"))
    while ours.reserve("192.0.2.9"):
        pass
    assert [ours.choose("bulk") for _ in range(3)] == ["192.0.2.1"] * 3

"""The recipient index finds who a delivery went to, across spools, restarts and torn writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.clock import DAY, now
from relay.ids import IdSource, made_at
from relay.recipients import RecipientIndex


def test_finds_what_it_was_given(tmp_path: Path) -> None:
    index, ids = RecipientIndex(tmp_path, 5), IdSource(5)
    one, three = ids.take(1), ids.take(3)
    index.write([(one, [7])])
    index.write([(three, [8, 9, (1 << 64) - 1])])
    assert [index.find(three + at, 5) for at in range(3)] == [8, 9, (1 << 64) - 1]
    assert index.find(one, 5) == 7
    assert index.find(one + 1_000_000, 5) is None
    assert index.find(one, 6) is None
    index.close()


def test_another_process_reads_it_while_it_grows(tmp_path: Path) -> None:
    writer, reader, ids = RecipientIndex(tmp_path, 1), RecipientIndex(tmp_path, 2), IdSource(1)
    for value in range(100):
        id_ = ids.take()
        writer.write([(id_, [value])])
        assert reader.find(id_, 1) == value
    writer.close()


def test_a_torn_record_does_not_shift_the_rest(tmp_path: Path) -> None:
    index, ids = RecipientIndex(tmp_path, 1), IdSource(1)
    first = ids.take()
    index.write([(first, [1])])
    index.close()
    (file,) = tmp_path.glob("*.recipients")
    with file.open("ab") as torn:
        torn.write(b"torn")
    index = RecipientIndex(tmp_path, 1)
    second = ids.take()
    index.write([(second, [2])])
    assert (index.find(first, 1), index.find(second, 1)) == (1, 2)
    index.close()


def test_files_are_the_owners_alone(tmp_path: Path) -> None:
    index = RecipientIndex(tmp_path / "recipients", 1)
    index.write([(IdSource(1).take(), [1])])
    index.close()
    (file,) = (tmp_path / "recipients").iterdir()
    assert file.stat().st_mode & 0o077 == 0


def test_old_months_are_dropped_and_young_ones_stay(tmp_path: Path) -> None:
    index = RecipientIndex(tmp_path, 1)
    old = IdSource(1, clock=lambda: now() - 200 * DAY).take()
    young = IdSource(1).take()
    index.write([(old, [1])])
    index.write([(young, [2])])
    index.drop_before(made_at(young) - 100 * DAY)
    assert (index.find(old, 1), index.find(young, 1)) == (None, 2)
    index.close()


@given(st.lists(st.integers(1, 5), min_size=1, max_size=50))
def test_lookup_is_right_for_any_sizes(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("index")
    index, ids = RecipientIndex(folder, 3), IdSource(3)
    expected: dict[int, int] = {}
    for size in sizes:
        first = ids.take(size)
        hashes = [int.from_bytes(os.urandom(8), "big") for _ in range(size)]
        index.write([(first, hashes)])
        expected |= {first + at: value for at, value in enumerate(hashes)}
    assert {id_: index.find(id_, 3) for id_ in expected} == expected
    index.close()

"""Each worker writes its own column, everybody reads the sum; bounded, and forgotten in time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from relay.shared_table import SharedTable


class Seconds:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shared.table"


def test_every_worker_reads_the_sum_of_all(path: Path) -> None:
    tables = [SharedTable(path, n, 3) for n in range(3)]
    for table in tables:
        table.add(b"connections", 2)
    tables[1].sub(b"connections")
    assert [table.sum(b"connections") for table in tables] == [5, 5, 5]
    assert tables[0].sum(b"other") == 0


def test_another_process_sees_the_count(path: Path) -> None:
    ours = SharedTable(path, 0, 2)
    ours.add(b"from10.0.0.1", 7)
    code = (
        "import sys; from pathlib import Path; from relay.shared_table import SharedTable\n"
        "t = SharedTable(Path(sys.argv[1]), 1, 2); t.add(b'from10.0.0.1'); "
        "print(t.sum(b'from10.0.0.1'))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, check=True, text=True
    )
    assert said.stdout.strip() == "8"
    assert ours.sum(b"from10.0.0.1") == 8


def test_a_key_at_zero_is_forgotten_and_never_negative(path: Path) -> None:
    table = SharedTable(path, 0, 1)
    table.add(b"k")
    table.sub(b"k", 5)
    table.sub(b"k", 5)
    assert table.sum(b"k") == 0
    table.add(b"k")
    assert table.sum(b"k") == 1


def test_a_count_with_a_lifetime_ends_from_its_first_addition(path: Path) -> None:
    clock = Seconds()
    table = SharedTable(path, 0, 1, monotonic=clock)
    table.add(b"failures", lifetime=10)
    clock.at += 9
    table.add(b"failures", lifetime=10)
    assert table.sum(b"failures") == 2
    clock.at += 1
    assert table.sum(b"failures") == 0
    table.add(b"failures", lifetime=10)
    assert table.sum(b"failures") == 1


def test_a_worker_that_starts_anew_forgets_connections_but_not_failures(path: Path) -> None:
    first = SharedTable(path, 0, 2)
    other = SharedTable(path, 1, 2)
    first.add(b"connections", 3)
    first.add(b"failures", 3, lifetime=3600)
    SharedTable(path, 0, 2)  # the first one was killed
    assert other.sum(b"connections") == 0
    assert other.sum(b"failures") == 3


def test_a_full_bucket_gives_up_what_ends_soonest_and_never_what_does_not_end(path: Path) -> None:
    clock = Seconds()
    table = SharedTable(path, 0, 1, slots=8, monotonic=clock)
    for n in range(8):
        table.add(b"failure%d" % n, lifetime=100 + n)
    table.add(b"failure8", lifetime=200)
    assert table.sum(b"failure0") == 0
    assert table.sum(b"failure8") == 1
    for n in range(20):
        table.add(b"open%d" % n)
    assert [table.sum(b"open%d" % n) for n in range(20)] == [1] * 20
    for n in range(20):
        table.sub(b"open%d" % n)
    assert [table.sum(b"open%d" % n) for n in range(20)] == [0] * 20


def test_a_file_of_another_shape_is_made_anew(path: Path) -> None:
    SharedTable(path, 0, 2).add(b"k", 5)
    assert SharedTable(path, 0, 3).sum(b"k") == 0
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("column", "columns", "slots"), [(2, 2, 8), (-1, 2, 8), (0, 1, 12)])
def test_an_impossible_shape_is_refused(path: Path, column: int, columns: int, slots: int) -> None:
    with pytest.raises(ValueError, match=r"slots|column"):
        SharedTable(path, column, columns, slots=slots)

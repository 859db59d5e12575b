"""A file system that is really read-only (P11): the start says so, and nothing is lost by it."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.message import State
from relay.spool.local import open_spool
from relay.spool.options import SpoolOptions
from relay.spool.protocol import Selection
from tests.harness.own_disk import own_disk
from tests.harness.spooled import WallClock, put

OPTIONS = SpoolOptions(disk_reserve=0)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Give a directory on a file system of its own; skips where mounting is not allowed."""
    with own_disk(tmp_path / "disk", 8) as path:
        yield path


def mounted(path: Path, how: str) -> None:
    """Make it read-only (`ro`) or writable (`rw`)."""
    subprocess.run(["mount", "-o", f"remount,{how}", str(path)], check=True)


async def test_a_spool_that_became_read_only_is_refused_and_whole_afterwards(disk: Path) -> None:
    clock = WallClock()
    async with open_spool(disk / "3", 3, OPTIONS, clock=clock) as spool:
        (first,) = await put(spool, "a.test", content=b"first", state=State.WAITING)
    mounted(disk, "ro")
    with pytest.raises(OSError, match=str(disk)) as caught:
        open_spool(disk / "3", 3, OPTIONS, clock=clock)
    assert caught.value.errno == errno.EROFS
    mounted(disk, "rw")
    async with open_spool(disk / "3", 3, OPTIONS, clock=clock) as spool:
        assert [d.id for d in await spool.waiting(Selection(), 10)] == [first.id]
        assert (await spool.load(first.message))[1] == b"first"

"""P10, P11: the operating system says no to a read, or to a new file: what is stored is neither
called lost nor damaged, and what was acknowledged is there afterwards.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.errors import SpoolFullError, StorageError
from relay.message import Delivery, State
from relay.spool import reader
from relay.spool.files import DiskFiles
from relay.spool.local import LocalSpool, open_spool
from relay.spool.options import SpoolOptions
from relay.spool.protocol import DamagedContentError, Selection
from tests.harness.spooled import WallClock, done, put

OPTIONS = SpoolOptions(disk_reserve=0, cache_bytes=0, segment_bytes=2_000)


def opened(path: Path, files: DiskFiles | None = None) -> LocalSpool:
    return open_spool(path / "3", 3, OPTIONS, clock=WallClock(), files=files or DiskFiles())


def failing_reads(ending: str, code: int) -> Callable[[int, int, int], bytes]:
    """Give a pread that fails for files whose name ends so."""
    honest = os.pread

    def pread(fd: int, length: int, offset: int) -> bytes:
        if os.readlink(f"/proc/self/fd/{fd}").endswith(ending):  # noqa: PTH115 - a worker thread
            raise OSError(code, os.strerror(code))
        return honest(fd, length, offset)

    return pread


async def put_some(spool: LocalSpool, taken: list[Delivery]) -> None:
    """Accept five mails, more than a segment holds, as far as that goes."""
    for _ in range(5):
        taken += await put(spool, "a.test", content=b"x" * 1_500, state=State.WAITING)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOMEM])
async def test_content_that_cannot_be_read_now_is_neither_lost_nor_damaged(
    tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as spool:
        (first,) = await put(spool, "a.test", content=b"first")
        (second,) = await put(spool, "b.test", content=b"second")
        with monkeypatch.context() as broken:
            broken.setattr(os, "pread", failing_reads(".seg", code))
            with pytest.raises(OSError, match=os.strerror(code)):
                await spool.load(first.message)
            await put(spool, "c.test", content=b"third")  # new mail is taken
            await spool.settle([done(second)])  # what is on its way is settled
        assert (spool.damaged, spool.failure) == (0, None)
        assert (await spool.load(first.message))[1] == b"first"


async def test_control_a_failed_read_that_is_taken_for_damage_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as spool:
        (first,) = await put(spool, "a.test", content=b"first")
        with monkeypatch.context() as broken:
            broken.setattr(reader, "_read", lambda _directory, wanted: [None] * len(wanted))
            with pytest.raises(DamagedContentError):
                await spool.load(first.message)
        assert spool.damaged == 1


async def test_a_log_that_cannot_be_read_fails_the_spool_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process starts anew; what was acknowledged is there then, and once."""
    async with opened(tmp_path) as spool:
        (first,) = await put(spool, "a.test", content=b"first", state=State.WAITING)
        with monkeypatch.context() as broken:
            broken.setattr(os, "pread", failing_reads("-shm", errno.EIO))
            with pytest.raises(StorageError):
                await put_some(spool, [])
        assert spool.failure is not None
        assert spool.refuses() == "failed"
    async with opened(tmp_path) as spool:
        found = await spool.waiting(Selection(), 10)
        assert first.id in [delivery.id for delivery in found]
        assert (await spool.load(first.message))[1] == b"first"


class NoNewFiles(DiskFiles):
    """A disk on which, from a moment on, no file can be opened for writing."""

    code = 0

    def open(self, path: Path) -> int:
        if self.code:
            raise OSError(self.code, os.strerror(self.code))
        return super().open(path)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EIO, errno.EMFILE, errno.ENOSPC])
async def test_without_a_new_segment_nothing_acknowledged_is_lost(
    tmp_path: Path, code: int
) -> None:
    files = NoNewFiles()
    taken: list[Delivery] = []
    async with opened(tmp_path, files) as spool:
        taken += await put(spool, "a.test", content=b"x" * 1_500, state=State.WAITING)
        files.code = code
        with pytest.raises(StorageError) as caught:
            await put_some(spool, taken)
        assert isinstance(caught.value, SpoolFullError) is (code == errno.ENOSPC)
        assert len(taken) < 5
    async with opened(tmp_path) as spool:
        found = await spool.waiting(Selection(), 10)
        assert [d.id for d in found] == [d.id for d in taken]
        for delivery in taken:
            assert (await spool.load(delivery.message))[1] == b"x" * 1_500

"""A disk that is full, breaks or lies: nothing acknowledged is lost, nothing is pretended."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from relay.errors import SpoolFullError, StorageError
from relay.message import State
from relay.spool.files import DiskFiles
from relay.spool.local import LocalSpool, open_spool
from relay.spool.options import SpoolOptions
from relay.spool.protocol import DamagedContentError, Recipients, Selection
from relay.spool.segments import Segments
from tests.harness.spooled import WallClock, done, message_to, put

OPTIONS = SpoolOptions(disk_reserve=0)


class FaultyFiles(DiskFiles):
    """The disk, until a fault is set."""

    def __init__(self) -> None:
        self.fault: dict[str, int] = {}

    def _check(self, call: str) -> None:
        if call in self.fault:
            raise OSError(self.fault[call], os.strerror(self.fault[call]))

    def write(self, fd: int, parts: Sequence[bytes], offset: int) -> None:
        if "write" in self.fault:
            super().write(fd, [b"".join(parts)[:10]], offset)  # it breaks off in the middle
        self._check("write")
        super().write(fd, parts, offset)

    def sync(self, fd: int) -> None:
        self._check("sync")
        super().sync(fd)


def opened(path: Path, files: DiskFiles, options: SpoolOptions = OPTIONS) -> LocalSpool:
    return open_spool(path / "3", 3, options, clock=WallClock(), files=files)


async def test_a_full_disk_refuses_mail_and_takes_it_again(tmp_path: Path) -> None:
    files = FaultyFiles()
    async with opened(tmp_path, files) as spool:
        (first,) = await put(spool, "a.test", content=b"first")
        files.fault["write"] = errno.ENOSPC
        message, deliveries = message_to(spool, "a.test")
        with pytest.raises(SpoolFullError, match="no space"):
            await spool.accept(message, b"second", deliveries, [b"never"])
        assert spool.refuses() == "disk reserve"
        with pytest.raises(KeyError):
            await spool.load(message.id)
        del files.fault["write"]
        await spool.settle([done(first)])  # deliveries go on
        spool._space.low = False  # what the next look at the disk finds
        third = await put(spool, "a.test", content=b"third")
    async with opened(tmp_path, DiskFiles()) as spool:
        assert [d.id for d in await spool.waiting(Selection(), 10)] == [third[0].id]
        assert (await spool.load(third[0].message))[1] == b"third"
        assert b"never" not in [e for b in await spool.batches(0, 99) for e in b.events]


async def test_control_a_full_disk_taken_for_a_broken_one_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P09: the check above fails where want of space ends the spool."""
    monkeypatch.setattr("relay.spool.writer._FULL", ())
    with pytest.raises(StorageError, match="has failed") as caught:
        await test_a_full_disk_refuses_mail_and_takes_it_again(tmp_path)
    assert not isinstance(caught.value, SpoolFullError)


class Kept:
    """Keeps recipients; `fault` is the errno that writing them fails with, 0 for none."""

    def __init__(self) -> None:
        self.told: list[Recipients] = []
        self.fault = 0

    def write(self, noted: Sequence[Recipients]) -> None:
        if self.fault:
            raise OSError(self.fault, os.strerror(self.fault))
        self.told += noted

    def take_back(self) -> None:
        pass


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EMFILE, errno.EACCES, errno.EIO])
async def test_recipients_that_cannot_be_kept_refuse_new_mail_and_nothing_else(
    tmp_path: Path, code: int
) -> None:
    async with opened(tmp_path, FaultyFiles()) as spool:
        message, deliveries = message_to(spool, "a.test", "b.test")
        kept = Kept()
        spool.tell_recipients(kept)
        await spool.accept(message, b"first", deliveries, [], (message.id + 1, [7, 8]))
        assert kept.told == [(message.id + 1, [7, 8])]
        kept.fault = code
        new, refused = message_to(spool, "a.test")
        answers = await asyncio.gather(
            spool.accept(new, b"second", refused, [b"never"], (new.id + 1, [9])),
            spool.settle([done(deliveries[0], b"delivered")]),
            return_exceptions=True,
        )
        assert isinstance(answers[0], SpoolFullError if code == errno.ENOSPC else StorageError)
        assert "recipients of deliveries" in str(answers[0])
        assert answers[1] is None
        with pytest.raises(KeyError):
            await spool.load(new.id)
        await spool.settle([done(deliveries[1], b"delivered")])
        kept.fault = 0
        spool._space.low = False  # what the next look at the disk finds
        last, taken = message_to(spool, "a.test")
        await spool.accept(last, b"third", taken, [], (last.id + 1, [1]))
        assert spool.failure is None
        assert [e for b in await spool.batches(0, 9) for e in b.events] == [b"delivered"] * 2


async def test_settlements_in_the_same_group_survive_a_full_disk(tmp_path: Path) -> None:
    files = FaultyFiles()
    async with opened(tmp_path, files) as spool:
        (first,) = await put(spool, "a.test")
        files.fault["write"] = errno.ENOSPC
        results = await asyncio.gather(
            put(spool, "b.test"),
            spool.settle([done(first, b"delivered")]),
            spool.record([b"hit"]),
            return_exceptions=True,
        )
        assert isinstance(results[0], SpoolFullError)
        assert results[1] is None
        assert isinstance(results[2], SpoolFullError)
        assert await spool.destinations() == []
        assert [b.events for b in await spool.batches(1, 9)] == [(b"delivered",)]


@pytest.mark.parametrize(
    ("call", "code"),
    [("sync", errno.EIO), ("sync", errno.ENOSPC), ("write", errno.EIO), ("write", errno.EROFS)],
)
async def test_a_broken_disk_fails_the_spool_for_good(tmp_path: Path, call: str, code: int) -> None:
    files = FaultyFiles()
    async with opened(tmp_path, files) as spool:
        (kept,) = await put(spool, "a.test", content=b"kept")
        files.fault[call] = code
        with pytest.raises(StorageError) as caught:
            await put(spool, "a.test")
        assert not isinstance(caught.value, SpoolFullError)
        del files.fault[call]
        assert spool.refuses() == "failed"
        assert spool.failure is not None
        with pytest.raises(StorageError, match="has failed"):  # the process hears of it at once
            await spool.watch()
        with pytest.raises(StorageError, match="failed"):  # it is not tried again
            await put(spool, "a.test")
        with pytest.raises(StorageError, match="failed"):
            await spool.settle([done(kept)])
        with pytest.raises(StorageError, match="failed"):
            await spool.destinations()
        assert spool.record_soon([b"hit"]) is False
    async with opened(tmp_path, DiskFiles()) as spool:
        (found,) = await spool.waiting(Selection(), 10)
        assert (found.id, found.ambiguous) == (kept.id, True)
        assert (await spool.load(kept.message))[1] == b"kept"


async def test_a_damaged_content_is_never_given_out(tmp_path: Path) -> None:
    async with opened(tmp_path, DiskFiles()) as spool:
        (first,) = await put(spool, "a.test", content=b"A" * 500)
        (second,) = await put(spool, "a.test", content=b"B" * 500)
    (segment,) = (tmp_path / "3" / "segments").iterdir()
    raw = bytearray(segment.read_bytes())
    raw[raw.index(b"A" * 500) + 250] ^= 1
    segment.write_bytes(raw)
    async with opened(tmp_path, DiskFiles()) as spool:
        with pytest.raises(DamagedContentError, match=str(first.message)):
            await spool.load(first.message)
        assert spool.damaged == 1
        assert (await spool.load(second.message))[1] == b"B" * 500


async def test_control_a_damaged_content_that_is_believed_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P19: the check above fails where a record is read without its checksum."""

    class Zero:
        @staticmethod
        def crc32(*_octets: object) -> int:
            return 0

    monkeypatch.setattr("relay.spool.record.zlib", Zero)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        await test_a_damaged_content_is_never_given_out(tmp_path)


@pytest.mark.parametrize("size", [0, 10, 300])
async def test_a_segment_that_lost_its_end_is_set_aside(tmp_path: Path, size: int) -> None:
    async with opened(tmp_path, DiskFiles()) as spool:
        (first,) = await put(spool, "a.test", content=b"A" * 500)
    (segment,) = (tmp_path / "3" / "segments").iterdir()
    os.truncate(segment, size)
    async with opened(tmp_path, DiskFiles()) as spool:
        with pytest.raises(DamagedContentError):
            await spool.load(first.message)
        (second,) = await put(spool, "a.test", content=b"B")
        assert (await spool.load(second.message))[1] == b"B"


async def test_a_lost_segment_is_told_apart_from_a_message_that_is_done(tmp_path: Path) -> None:
    async with opened(tmp_path, DiskFiles()) as spool:
        (first,) = await put(spool, "a.test")
    (segment,) = (tmp_path / "3" / "segments").iterdir()
    segment.unlink()
    async with opened(tmp_path, DiskFiles()) as spool:
        with pytest.raises(DamagedContentError):
            await spool.load(first.message)
        with pytest.raises(KeyError):
            await spool.load(first.message + 1)


async def test_what_a_crash_left_behind_the_committed_end_is_written_over(tmp_path: Path) -> None:
    async with opened(tmp_path, DiskFiles()) as spool:
        (first,) = await put(spool, "a.test", content=b"first", state=State.WAITING)
    (segment,) = (tmp_path / "3" / "segments").iterdir()
    size = segment.stat().st_size
    segment.write_bytes(segment.read_bytes() + b"half a message")
    stray = segment.with_name("00000077.seg")
    stray.write_bytes(b"never committed")
    async with opened(tmp_path, DiskFiles()) as spool:
        assert not stray.exists()
        (second,) = await put(spool, "a.test", content=b"second")
        assert segment.read_bytes()[size:].startswith(b"WPm1")  # written over
        assert (await spool.load(first.message))[1] == b"first"
        spool.cache.drop(second.message)
        assert (await spool.load(second.message))[1] == b"second"


async def test_control_what_is_not_written_over_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P19: the check above fails where a start goes on behind all that the file holds."""
    honest = Segments.start

    def start(self: Segments, number: int, size: int) -> None:
        path = self.path(number)
        honest(self, number, max(size, path.stat().st_size) if path.exists() else size)

    monkeypatch.setattr(Segments, "start", start)
    with pytest.raises(AssertionError, match="half a message"):
        await test_what_a_crash_left_behind_the_committed_end_is_written_over(tmp_path)


async def test_a_spool_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path, DiskFiles()):
        pass
    with sqlite3.connect(tmp_path / "3" / "spool.sqlite") as file:
        file.execute("PRAGMA user_version = 99")
    file.close()
    with pytest.raises(StorageError, match="schema version 99"):
        opened(tmp_path, DiskFiles())


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path, DiskFiles()):
        pass
    (tmp_path / "3" / "spool.sqlite").write_bytes(b"not a database" * 1000)
    with pytest.raises(StorageError, match=r"spool\.sqlite"):
        opened(tmp_path, DiskFiles())


async def test_a_database_that_lost_pages_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path, DiskFiles()) as spool:
        await put(spool, "a.test")
    with sqlite3.connect(tmp_path / "3" / "spool.sqlite") as file:
        file.execute("CREATE TABLE torn AS SELECT id, NULL AS size, NULL, NULL FROM segments")
        file.execute("DROP TABLE segments")
        file.execute("ALTER TABLE torn RENAME TO segments")
    file.close()
    with pytest.raises(StorageError, match=r"spool\.sqlite is damaged"):
        opened(tmp_path, DiskFiles())


async def test_everything_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    async with opened(tmp_path, DiskFiles()) as spool:
        await put(spool, "a.test")
        for path in [tmp_path / "3", *(tmp_path / "3").rglob("*")]:
            assert path.stat().st_mode & 0o077 == 0, path

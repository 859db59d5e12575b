"""A file system that is really full (P09): mail is refused, deliveries go on, space helps."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from relay.errors import SpoolFullError
from relay.message import Delivery
from relay.recipients import RecipientIndex
from relay.spool.files import DiskFiles
from relay.spool.local import LocalSpool, open_spool
from relay.spool.options import SpoolOptions
from relay.spool.protocol import DamagedContentError, Selection
from tests.harness.own_disk import own_disk
from tests.harness.spooled import WallClock, done, message_to, put

KB = 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a directory on a file system of 4 MB; skips where mounting is not allowed."""
    with own_disk(tmp_path / "disk", 4) as path:
        yield path


async def fill(spool: LocalSpool, content: bytes) -> list[Delivery]:
    """Accept until the spool refuses."""
    taken: list[Delivery] = []
    with contextlib.suppress(SpoolFullError):
        while True:
            taken += await put(spool, "a.test", content=content, events=[b"accepted"])
    return taken


def fill_up(path: Path) -> None:
    """Leave no block free."""
    with path.open("wb", buffering=0) as junk, contextlib.suppress(OSError):
        while junk.write(b"x" * 4 * KB) == 4 * KB:
            pass


async def until_taken(spool: LocalSpool) -> None:
    """Wait for the spool to see that there is space again: it looks once a second."""
    while spool.refuses():
        spool._space._looked = -1e9
        await spool.destinations()


def options(reserve: int) -> SpoolOptions:
    return SpoolOptions(
        disk_reserve=reserve, segment_bytes=200 * KB, checkpoint_bytes=128 * KB, cache_bytes=0
    )


async def test_a_disk_filled_by_mail_alone_empties_again(small_disk: Path) -> None:
    clock = WallClock()
    async with open_spool(small_disk / "0", 0, options(0), clock=clock) as spool:
        taken = await fill(spool, b"x" * 20 * KB)
        assert len(taken) > 100
        assert spool.refuses() == "disk reserve"
        for delivery in taken[:-3]:
            assert len((await spool.load(delivery.message))[1]) == 20 * KB
            await spool.settle([done(delivery, b"delivered")])
        await until_taken(spool)
        taken = taken[-3:] + await put(spool, "a.test", content=b"again")
    async with open_spool(small_disk / "0", 0, options(0), clock=clock) as spool:
        found = await spool.waiting(Selection(), 1000)
        assert [d.id for d in found] == [d.id for d in taken]
        assert spool.failure is None


async def test_control_a_write_that_fails_silently_is_noticed(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was acknowledged is then not there."""
    honest = DiskFiles.write

    def write(self: DiskFiles, fd: int, parts: Sequence[bytes], offset: int) -> None:
        with contextlib.suppress(OSError):
            honest(self, fd, parts, offset)

    monkeypatch.setattr(DiskFiles, "write", write)
    async with open_spool(small_disk / "0", 0, options(0), clock=WallClock()) as spool:
        taken = []
        with contextlib.suppress(SpoolFullError):
            for _ in range(250):  # 5 MB, of which 4 fit
                taken += await put(spool, "a.test", content=b"x" * 20 * KB)
        with pytest.raises(DamagedContentError):
            await asyncio.gather(*(spool.load(delivery.message) for delivery in taken))


@pytest.mark.parametrize("size", [9_000, 20_480])
async def test_recipients_of_refused_mail_keep_nothing_on_a_full_disk(
    small_disk: Path, size: int
) -> None:
    async with open_spool(small_disk / "0", 0, options(0), clock=WallClock()) as spool:
        index = RecipientIndex(small_disk / "recipients", 0)
        spool.tell_recipients(index)
        taken: list[Delivery] = []
        with contextlib.suppress(SpoolFullError):
            while True:
                message, deliveries = message_to(spool, "a.test")
                known = (message.id + 1, [7])
                await spool.accept(message, b"x" * size, deliveries, [b"accepted"], known)
                taken += deliveries
        message, deliveries = message_to(spool, *["a.test"] * 300)
        spool._space.low = False  # as for who came before anybody looked at the disk
        with pytest.raises(SpoolFullError):
            await spool.accept(message, b"x", deliveries, [], (message.id + 1, [7] * 300))
        for delivery in taken[:-3]:
            await spool.settle([done(delivery, b"delivered")])
        await until_taken(spool)
        assert index.find(taken[-1].id, 0) == 7
        await put(spool, "a.test", content=b"again")
        index.close()


async def test_a_disk_filled_by_others_loses_nothing(small_disk: Path) -> None:
    clock = WallClock()
    async with open_spool(small_disk / "0", 0, options(500 * KB), clock=clock) as spool:
        taken = [(await put(spool, "a.test", content=b"x" * 9 * KB))[0] for _ in range(50)]
        fill_up(small_disk / "junk")
        spool._space._looked = -1e9
        await spool.destinations()
        assert spool.refuses() == "disk reserve"
        for delivery in taken[:25]:
            spool.settle_soon(done(delivery, b"delivered"))
        (small_disk / "junk").unlink()
        await spool.record([])
        await until_taken(spool)
        taken = taken[25:] + await put(spool, "a.test", content=b"again")
        events = [e for b in await spool.batches(0, 10_000) for e in b.events]
    async with open_spool(small_disk / "0", 0, options(0), clock=clock) as spool:
        assert [d.id for d in await spool.waiting(Selection(), 1000)] == [d.id for d in taken]
        assert events.count(b"delivered") <= 25
        events = [e for b in await spool.batches(0, 10_000) for e in b.events]
        assert events.count(b"delivered") == 25

"""Segments go with their last message, survivors are copied on, the log stays short."""

from __future__ import annotations

import asyncio
from pathlib import Path

from relay.message import State
from relay.spool.local import LocalSpool, open_spool
from relay.spool.options import MIB, SpoolOptions
from relay.spool.protocol import Selection
from tests.harness.spooled import WallClock, done, put

SMALL = SpoolOptions(disk_reserve=0, segment_bytes=20_000, cache_bytes=0)


def opened(path: Path, options: SpoolOptions = SMALL) -> LocalSpool:
    return open_spool(path / "3", 3, options, clock=WallClock())


def segments(path: Path) -> list[str]:
    return sorted(p.name for p in (path / "3" / "segments").glob("*.seg"))


async def until_quiet(spool: LocalSpool) -> None:
    """Let the writer finish its housekeeping: it answers only when it has nothing else to do."""
    for _ in range(50):
        await spool.destinations()
        await asyncio.sleep(0)


async def test_a_segment_goes_with_its_last_message(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        deliveries = [
            (await put(spool, "a.test", content=b"%04d" % n + b"x" * 5000))[0] for n in range(12)
        ]
        assert len(segments(tmp_path)) >= 3
        await spool.settle([done(d) for d in deliveries])
        await put(spool, "a.test")
        await until_quiet(spool)
        assert len(segments(tmp_path)) == 1


async def test_survivors_are_copied_on(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        deliveries = [
            (await put(spool, "a.test", content=b"%04d" % n + b"x" * 2000))[0] for n in range(60)
        ]
        survivors = deliveries[::10]
        await spool.settle([done(d) for d in deliveries if d not in survivors])
        for _ in range(200):
            if len(segments(tmp_path)) <= 3:
                break
            await until_quiet(spool)
        assert len(segments(tmp_path)) <= 3
        for n, delivery in enumerate(survivors):
            assert (await spool.load(delivery.message))[1] == b"%04d" % (n * 10) + b"x" * 2000
    async with opened(tmp_path) as spool:
        found = await spool.waiting(Selection(), 99)
        assert [d.id for d in found] == [d.id for d in survivors]
        for n, delivery in enumerate(survivors):
            assert (await spool.load(delivery.message))[1] == b"%04d" % (n * 10) + b"x" * 2000


async def test_what_is_moved_while_it_is_read_is_not_taken_for_damaged(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        deliveries = [
            (await put(spool, "a.test", content=b"%04d" % n + b"x" * 2000))[0] for n in range(200)
        ]
        survivors = deliveries[::10]
        loads = [asyncio.ensure_future(spool.load(d.message)) for d in survivors]
        for delivery in deliveries:
            if delivery not in survivors:
                spool.settle_soon(done(delivery))
        for _ in range(40):
            await until_quiet(spool)
            loads += [asyncio.ensure_future(spool.load(d.message)) for d in survivors]
        contents = await asyncio.gather(*loads)
        assert {content[:4] for _, content in contents} == {b"%04d" % n for n in range(0, 200, 10)}
        assert spool.damaged == 0


async def test_a_damaged_survivor_keeps_its_segment_and_stops_nobody(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        deliveries = [
            (await put(spool, "a.test", content=b"%04d" % n + b"x" * 2000))[0] for n in range(40)
        ]
        first = tmp_path / "3" / "segments" / segments(tmp_path)[0]
        raw = bytearray(first.read_bytes())
        raw[raw.index(b"0000xxx") + 500] ^= 1
        first.write_bytes(raw)
        await spool.settle([done(d) for d in deliveries[1:]])
        await until_quiet(spool)
        await put(spool, "a.test")
        assert first.exists()


async def test_the_write_ahead_log_stays_short(tmp_path: Path) -> None:
    options = SpoolOptions(disk_reserve=0, checkpoint_bytes=MIB)
    wal = tmp_path / "3" / "spool.sqlite-wal"
    largest = 0
    async with opened(tmp_path, options) as spool:
        for _ in range(30):
            claimed = await asyncio.gather(
                *(put(spool, "a.test", events=[b"e" * 3000]) for _ in range(100))
            )
            for (delivery,) in claimed:
                spool.settle_soon(done(delivery, b"d" * 3000))
            largest = max(largest, wal.stat().st_size)
        assert MIB // 2 < largest < 5 * MIB
        await spool.forget(spool.last_seq)


async def test_contents_in_memory_are_bounded(tmp_path: Path) -> None:
    options = SpoolOptions(disk_reserve=0, cache_bytes=100_000)
    async with opened(tmp_path, options) as spool:
        deliveries = [(await put(spool, "a.test", content=b"x" * 9000))[0] for n in range(30)]
        assert 50_000 < spool.cache.octets <= 100_000
        for delivery in deliveries:
            assert len((await spool.load(delivery.message))[1]) == 9000
        assert spool.cache.octets <= 100_000
        await spool.settle([done(d) for d in deliveries])
        assert spool.cache.octets == 0


async def test_a_message_to_many_is_read_once(tmp_path: Path) -> None:
    async with opened(tmp_path, SpoolOptions(disk_reserve=0)) as spool:
        deliveries = await put(
            spool, *(f"d{n}.test" for n in range(50)), state=State.WAITING, content=b"x" * 9000
        )
        due = await spool.due(1 << 60, 100)
        claimed = await spool.claim([(q.id, 9) for q in due.queues], 1 << 60)
        assert len(claimed) == len(deliveries)
        contents = await asyncio.gather(*(spool.load(d.message) for d in claimed))
        assert len({id(content) for _, content in contents}) == 1


async def test_emptied_files_are_written_over_and_never_more_than_two_kept(tmp_path: Path) -> None:
    folder = tmp_path / "3" / "segments"
    async with opened(tmp_path) as spool:
        for _ in range(30):
            (delivery,) = await put(spool, "a.test", content=b"x" * 15_000)
            await spool.settle([done(delivery)])
            await until_quiet(spool)
            assert len(list(folder.glob("*.spare"))) <= 2
        (kept,) = await put(spool, "a.test", content=b"the last")
        assert len(list(folder.iterdir())) <= 4
    async with opened(tmp_path) as spool:
        assert (await spool.load(kept.message))[1] == b"the last"
        assert len(list(folder.iterdir())) <= 4


async def test_spares_are_given_back_when_the_disk_is_nearly_full(tmp_path: Path) -> None:
    folder = tmp_path / "3" / "segments"
    async with opened(tmp_path) as spool:
        for _ in range(10):
            (delivery,) = await put(spool, "a.test", content=b"x" * 15_000)
            await spool.settle([done(delivery)])
        await until_quiet(spool)
        assert list(folder.glob("*.spare"))
        spool._space.found_full()
        await until_quiet(spool)
        assert not list(folder.glob("*.spare"))

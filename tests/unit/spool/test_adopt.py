"""A spool without a worker is drained by a live one, and only by one."""

from __future__ import annotations

from pathlib import Path

from relay.message import State
from relay.spool.adopt import adopt, orphans
from relay.spool.local import open_spool
from relay.spool.options import SpoolOptions
from relay.spool.protocol import Selection
from tests.harness.spooled import START, WallClock, done, put

OPTIONS = SpoolOptions(disk_reserve=0)


async def test_an_orphan_is_drained_under_its_own_name(tmp_path: Path) -> None:
    clock = WallClock()
    async with open_spool(tmp_path / "1", 65, OPTIONS, clock=clock) as spool:
        await put(spool, "a.test", state=State.WAITING, events=[b"accepted"])
        incarnation = spool.incarnation
    async with open_spool(tmp_path / "0", 64, OPTIONS, clock=clock):
        assert orphans(tmp_path, {"0"}) == [tmp_path / "1"]
        adopted = adopt(tmp_path / "1", OPTIONS, clock=clock)
        assert adopted is not None
        async with adopted as spool:
            assert adopt(tmp_path / "1", OPTIONS, clock=clock) is None  # it has an owner now
            assert (spool.number, spool.incarnation) == (65, incarnation)
            assert spool.refuses() == "draining"
            (queue,) = (await spool.due(START, 9)).queues
            (delivery,) = await spool.claim([(queue.id, 9)], START)
            assert not await spool.is_drained()
            await spool.settle([done(delivery, b"delivered")])
            assert not await spool.is_drained()
            await spool.forget(spool.last_seq)
            assert await spool.is_drained()
    async with open_spool(tmp_path / "1", 65, OPTIONS, clock=clock) as spool:
        assert await spool.waiting(Selection(), 9) == []
        await put(spool, "a.test", events=[b"again"])
        assert spool.last_seq > 2


def test_what_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "spool.sqlite").write_bytes(b"rubbish" * 1000)
    assert adopt(tmp_path / "1", OPTIONS) is None
    assert (tmp_path / "1" / "spool.sqlite").read_bytes() == b"rubbish" * 1000

"""What a worker puts into force: here at once, for others when the fact is on disk."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from metrics.events import Event, Kind
from relay.errors import StorageError
from relay.mail.keyring import KeyRing
from relay.message import Delivery
from relay.notices import NoticeBoard
from relay.recipients import RecipientIndex
from relay.recorder import Recorder
from relay.spool.files import DiskFiles
from relay.spool.local import LocalSpool, open_spool
from relay.spool.options import SpoolOptions
from relay.suppressions import RecipientHash, Suppressions
from tests.harness.spooled import START, WallClock, done, put

HASH = RecipientHash(KeyRing.of(b"of the recorder's tests, no secret"))


class Files(DiskFiles):
    """The disk, until it breaks."""

    broken = False

    def sync(self, fd: int) -> None:
        if self.broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync(fd)


class Desk:
    """A recorder over a real spool; `others` is what another process sees."""

    def __init__(self, folder: Path, spool: LocalSpool, files: Files) -> None:
        self.spool = spool
        self.files = files
        self.suppressions = Suppressions(folder / "table")
        self.others = NoticeBoard(folder / "notices", "worker-1")
        self.recorder = Recorder(
            spool=spool,
            index=RecipientIndex(folder / "recipients", 1),
            board=NoticeBoard(folder / "notices", "worker-0"),
            suppressions=self.suppressions,
            recipient_hash=HASH,
            domain=lambda _number: None,
            node="node1",
        )

    async def bounced(self, delivery: Delivery) -> None:
        """Settle a delivery as bounced, tell of it, and wait until that is over."""
        fact = Event(
            kind=Kind.BOUNCED,
            at=START,
            delivery=delivery.id,
            account=1,
            recipient="ann@inbox.test",
            scope="account",
        )
        self.spool.settle_soon(done(delivery, b"bounced"))
        self.recorder.told(fact, self.spool)
        assert self.suppressions.reason(1, "", 0, HASH.of("ann@inbox.test")) == "hard-bounce"
        await self.recorder.close()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    files = Files()
    options = SpoolOptions(disk_reserve=0)
    async with open_spool(tmp_path / "1", 1, options, clock=WallClock(), files=files) as spool:
        yield Desk(tmp_path, spool, files)


async def test_others_hear_of_a_bounce_whose_fact_is_on_disk(desk: Desk) -> None:
    (delivery,) = await put(desk.spool, "inbox.test")
    await desk.bounced(delivery)
    assert [notice.reason for notice in desk.others.follow()] == ["hard-bounce"]
    assert b"bounced" in [e for b in await desk.spool.batches(0, 99) for e in b.events]


async def test_nobody_hears_of_a_bounce_that_never_got_there(desk: Desk) -> None:
    """Else the next try of the delivery would find its recipient suppressed by nothing."""
    (delivery,) = await put(desk.spool, "inbox.test")
    desk.files.broken = True
    with pytest.raises(StorageError):  # the segment's sync fails, and with it the spool
        await put(desk.spool, "inbox.test")
    await desk.bounced(delivery)
    assert list(desk.others.follow()) == []

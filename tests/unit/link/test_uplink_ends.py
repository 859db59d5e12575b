"""A worker that stops while its link breaks off does stop: the uplink is not cancelled in vain."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

from relay.link.hub import Hub
from relay.link.uplink import Receiver, Uplink
from relay.settings import Change
from relay.spool.protocol import Batch, Spool


class SlowToEnd:
    """The outbox half of a spool; whoever waits for more takes a moment to be cancelled."""

    incarnation = "spool-a"

    def __init__(self) -> None:
        self.ending = asyncio.Event()

    async def batches(self, after: int, limit: int) -> list[Batch]:
        return []

    async def more(self, after: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.ending.set()
            await asyncio.Event().wait()

    async def forget(self, upto: int) -> None:
        """Nothing is there."""


class Nothing:
    """A worker that has nothing to say."""

    settings_version = 4

    def changed(self, changes: tuple[Change, ...]) -> None:
        """Take no change."""

    def welcomed(self, version: int) -> None:
        """Take no welcome."""

    def suppressed(self) -> None:
        """Map nothing again."""

    def gauges(self) -> dict[str, float]:
        return {}

    def counters(self) -> dict[str, int]:
        return {}


async def test_a_cancellation_while_the_link_breaks_is_heard(tmp_path: Path) -> None:
    path, outbox = tmp_path / "link.sock", SlowToEnd()

    async def marks(_spools: object) -> dict[str, int]:
        return {}

    async def fold(_spool: str, _batches: object) -> int:
        return 0

    hub = Hub(path, marks, fold, lambda: 4, lambda _after: ())
    await hub.start()
    spools = {outbox.incarnation: cast(Spool, outbox)}
    uplink = Uplink(path, 0, lambda: spools, cast(Receiver, Nothing()), {})
    running = asyncio.create_task(uplink.run())
    async with asyncio.timeout(20):
        while not hub.connected():  # noqa: ASYNC110 - a hub has no event for it
            await asyncio.sleep(0.01)
        await hub.stop()
        await outbox.ending.wait()  # the link has broken off and its jobs are being ended
        running.cancel()
        ended, _ = await asyncio.wait({running}, timeout=10)
    running.cancel()
    assert ended
    assert running.cancelled()

"""A million deliveries waiting in one spool: start, memory, and what others notice of it.

    python -m bench.stage_spool_scale [deliveries] [directory]

Nine in ten wait for one destination that takes a second for each, the rest for 10,000 others that
take none. Printed: how long opening takes, after a clean end and after one with 10,000 claimed;
then second by second what dispatch gets through, the memory, and how long fresh messages to a
destination of their own take from acceptance to the end of their delivery.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import uvloop

from relay.clock import now
from relay.dispatch.dispatcher import Dispatcher
from relay.dispatch.lanes import Take
from relay.dispatch.limits import Feedback
from relay.message import Delivery, Disposition, Message, Settlement, State
from relay.spool.local import LocalSpool, open_spool
from relay.spool.options import SpoolOptions

_OPTIONS = SpoolOptions(disk_reserve=0, outbox_bytes=1 << 40)
_SLOW, _FRESH = "slow.test", "fresh.test"
_SECONDS = 20


def _resident() -> int:
    """Give the process's resident memory in MB."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * 4096 >> 20


def _message(spool: LocalSpool, names: list[str], state: State) -> tuple[Message, list[Delivery]]:
    first, at = spool.take_ids(1 + len(names)), now()
    message = Message(id=first, account=1, accepted_at=at, settings_version=1)
    deliveries = [
        Delivery(
            id=first + n,
            message=first,
            recipient=b"somebody%d@" % n + name.encode(),
            recipient_domain=name,
            destination=name,
            account=1,
            state=state,
            not_before=at,
            starts_at=at,
        )
        for n, name in enumerate(names, start=1)
    ]
    return message, deliveries


async def _fill(path: Path, count: int) -> None:
    async with open_spool(path, 1, _OPTIONS) as spool:
        for start in range(0, count, 1000):
            names = [f"d{n // 10 % 10_000}.test" if n % 10 == 0 else _SLOW
                     for n in range(start, start + 1000)]  # fmt: skip
            message, deliveries = _message(spool, names, State.WAITING)
            await spool.accept(message, b"x" * 4000, deliveries, [])


def _opened(path: Path, after: str) -> LocalSpool:
    start = time.perf_counter()
    spool = open_spool(path, 1, _OPTIONS)
    took = time.perf_counter() - start
    print(f"opened after {after} in {took * 1000:.0f} ms: {spool.totals}, {_resident()} MB")
    return spool


async def _claim(spool: LocalSpool, count: int) -> None:
    while spool.totals.claimed < count:
        due = await spool.due(now(), 200)
        await spool.claim([(queue.id, 50) for queue in due.queues], now())


class _Run:
    """Dispatch over the full spool, with lanes that only wait."""

    def __init__(self, spool: LocalSpool) -> None:
        self.spool = spool
        self.sent: Counter[str] = Counter()
        self.fresh: list[float] = []
        self.dispatcher = Dispatcher(spool, self.lane, clock=now)

    async def lane(self, name: str, take: Take) -> None:
        while (delivery := await take()) is not None:
            if name == _SLOW:
                await asyncio.sleep(1)
            else:
                await self.spool.load(delivery.message)
            settlement = Settlement(
                delivery=delivery.id, message=delivery.message, disposition=Disposition.DONE
            )
            self.spool.settle_soon(settlement)
            self.dispatcher.finished(delivery, settlement, Feedback.GOOD)
            self.sent[name if name in {_SLOW, _FRESH} else "others"] += 1
            if name == _FRESH:
                self.fresh.append((now() - delivery.starts_at) / 1000)

    async def submit(self) -> None:
        """Accept a fresh message fifty times a second."""
        while True:
            claimed = self.dispatcher.room(1, _FRESH)
            state = State.CLAIMED if claimed else State.WAITING
            message, deliveries = _message(self.spool, [_FRESH], state)
            await self.spool.accept(message, b"x" * 4000, deliveries, [])
            if claimed:
                self.dispatcher.offer(message, deliveries)
            await asyncio.sleep(0.02)

    async def watch(self) -> None:
        """Print a line a second."""
        for second in range(1, _SECONDS + 1):
            await asyncio.sleep(1)
            fresh, self.fresh = sorted(self.fresh), []
            middle, most = (fresh[len(fresh) // 2], fresh[-1]) if fresh else (0.0, 0.0)
            print(f"{second:3d} s: {dict(self.sent)}, {_resident()} MB, "
                  f"fresh {middle:.0f} ms, at most {most:.0f} ms")  # fmt: skip


async def _main(path: Path, count: int) -> None:
    await _fill(path, count)
    async with _opened(path, "a clean end") as spool:
        await _claim(spool, 10_000)
    async with _opened(path, "an end with 10,000 claimed") as spool:
        run = _Run(spool)
        tasks = [asyncio.ensure_future(run.dispatcher.run()), asyncio.ensure_future(run.submit())]
        await run.watch()
        await run.dispatcher.stop(2)
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def main() -> None:
    """Run in a fresh directory."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    parent = sys.argv[2] if len(sys.argv) > 2 else None
    base = Path(tempfile.mkdtemp(prefix="spool-scale-", dir=parent))
    try:
        uvloop.run(_main(base / "1", count))
    finally:
        shutil.rmtree(base)


if __name__ == "__main__":
    main()

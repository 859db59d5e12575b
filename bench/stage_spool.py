"""What keeping a message safe costs: accepted, settled and forgotten, with every sync.

    python -m bench.stage_spool [messages] [directory]

CPU milliseconds of the process per message (all threads, kernel time included: that is where
writing and syncing happens) and messages per second, for groups of 20, 50 and 100 clients that each
wait for their commit. Variants: the loop otherwise idle; the loop busy with other work between
messages (how long a commit takes then); a backlog claimed and read back; opening a spool in which
many deliveries wait. Put the directory on the disk you mean to measure.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import uvloop

from relay.clock import now
from relay.message import Delivery, Disposition, Message, Settlement, State
from relay.spool.local import LocalSpool, open_spool
from relay.spool.options import SpoolOptions

_EVENT = b"e" * 220
_SPIN = 0.0002  # seconds of other work in the loop for each message
_OPTIONS = SpoolOptions(disk_reserve=0, outbox_bytes=1 << 40)


def _message(spool: LocalSpool, state: State, destination: str) -> tuple[Message, list[Delivery]]:
    first, at = spool.take_ids(2), now()
    message = Message(
        id=first, account=1, accepted_at=at, settings_version=1, campaign="spring", plan=b"p" * 2000
    )
    delivery = Delivery(
        id=first + 1,
        message=first,
        recipient=b"somebody@" + destination.encode(),
        recipient_domain=destination,
        destination=destination,
        account=1,
        campaign="spring",
        sending_domain="shop.test",
        state=state,
        not_before=at,
        starts_at=at,
    )
    return message, [delivery]


def _done(delivery: Delivery) -> Settlement:
    return Settlement(
        delivery=delivery.id,
        message=delivery.message,
        disposition=Disposition.DONE,
        events=(_EVENT,),
    )


async def _through(
    spool: LocalSpool, content: bytes, count: int, clients: int, spin: float
) -> None:
    """Accept and settle `count` messages from so many clients."""
    left = count

    async def client() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            message, deliveries = _message(spool, State.CLAIMED, "inbox.test")
            if spin:
                until = time.perf_counter() + spin
                while time.perf_counter() < until:
                    pass
            await spool.accept(message, content, deliveries, [_EVENT])
            spool.settle_soon(_done(deliveries[0]))

    forgetting = asyncio.ensure_future(_forget(spool))
    await asyncio.gather(*(client() for _ in range(clients)))
    forgetting.cancel()


async def _forget(spool: LocalSpool) -> None:
    """Do what the link does: read the outbox and drop what the ledger has."""
    seen = spool.last_seq
    while True:
        await spool.more(seen)
        await asyncio.sleep(0.05)
        for batch in await spool.batches(seen, 1000):
            seen = batch.seq
        await spool.forget(seen)


async def _backlog(spool: LocalSpool, content: bytes, count: int) -> None:
    """Claim, read and settle what waits."""
    taken = 0
    while taken < count:
        due = await spool.due(now(), 100)
        claimed = await spool.claim([(queue.id, 200) for queue in due.queues], now())
        taken += len(claimed)
        for delivery in claimed:
            _, found = await spool.load(delivery.message)
            if found != content:
                raise RuntimeError("the spool gave back something else")
            spool.settle_soon(_done(delivery))


async def _measured(count: int, work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """Give CPU milliseconds per message and messages per second."""
    cpu, wall = time.process_time(), time.perf_counter()
    await work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return cpu / count * 1000, count / wall


async def _main(count: int, base: Path) -> None:
    for size in (4_000, 40_000):
        async with open_spool(base / str(size), 1, _OPTIONS) as spool:
            await _one_size(spool, b"x" * size, count)


async def _one_size(spool: LocalSpool, content: bytes, count: int) -> None:
    name = f"{len(content):6d} octets"
    await _through(spool, content, 4000, 50, 0)  # segments that exist, a warm disk
    for clients in (20, 50, 100):
        before = spool.last_seq
        ms, rate = await _measured(count, partial(_through, spool, content, count, clients, 0))
        share = count / (spool.last_seq - before)
        print(f"{name}, {clients:3d} clients: {ms:.4f} ms CPU, {rate:6.0f}/s, "
              f"{share:5.1f} messages a group")  # fmt: skip
    ms, rate = await _measured(count, partial(_through, spool, content, count, 20, _SPIN))
    print(f"{name},  20 clients, loop busy {_SPIN * 1000:.1f} ms a message: "
          f"{ms - _SPIN * 1000:.4f} ms CPU besides, {rate:6.0f}/s")  # fmt: skip
    for number in range(count):
        message, deliveries = _message(spool, State.WAITING, "inbox.test")
        future = spool.accept(message, content, deliveries, [_EVENT])
        if number % 200 == 0:
            await future
    await spool.record([])
    ms, rate = await _measured(count, partial(_backlog, spool, content, count))
    print(f"{name}, from the backlog: {ms:.4f} ms CPU, {rate:6.0f}/s")


def main() -> None:
    """Run everything in a fresh directory."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    parent = sys.argv[2] if len(sys.argv) > 2 else None
    base = Path(tempfile.mkdtemp(prefix="spool-", dir=parent))
    try:
        uvloop.run(_main(count, base))
    finally:
        shutil.rmtree(base)


if __name__ == "__main__":
    main()

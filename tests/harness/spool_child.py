"""A process that works on a spool and says what it was promised, so that it may be killed.

    python -m tests.harness.spool_child DIRECTORY SEED COUNT [nosync]

It writes one line for each step, in one write, before and after: `try MESSAGE SHA DELIVERIES...`,
`ack MESSAGE`; `end DELIVERY`, `ended DELIVERY` (settled as done); `fact ID`, `noted ID`. The seed
decides what it does; what an earlier run left waiting it takes up.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import sys
from pathlib import Path

from relay.clock import now
from relay.message import Delivery, Disposition, Settlement, State
from relay.spool.local import LocalSpool, open_spool
from relay.spool.options import MIB, SpoolOptions
from tests.harness.spooled import message_to, retry

OPTIONS = SpoolOptions(
    disk_reserve=0, segment_bytes=60_000, checkpoint_bytes=MIB // 4, soon_delay=0.001
)


def say(*words: object) -> None:
    """Write a line at once."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def main(path: Path, seed: int, count: int, *, sync: bool) -> None:
    """Work until `count` messages were accepted."""
    options = SpoolOptions(
        **{name: getattr(OPTIONS, name) for name in OPTIONS.__slots__} | {"sync": sync}
    )
    async with open_spool(path, 5, options) as spool:
        say("open", spool.incarnation)
        work = iter(range(count))
        dice = [random.Random(seed * 100 + n) for n in range(4)]  # noqa: S311 - repeatable
        await asyncio.gather(*(client(spool, one, work) for one in dice))
        say("worked")
    say("closed")


async def client(spool: LocalSpool, dice: random.Random, work: object) -> None:
    """Accept, settle, claim and note, in any order."""
    mine: list[Delivery] = []
    for number in work:  # type: ignore[attr-defined]
        mine += await accept(spool, dice)
        dice.shuffle(mine)
        while mine and dice.random() < 0.7:
            await settle(spool, dice, mine.pop())
        if number % 5 == 0:
            fact = f"h{os.getpid()}-{number}"
            say("fact", fact)
            await spool.record([fact.encode()])
            say("noted", fact)
        if number % 7 == 0:
            due = await spool.due(now(), 10)
            mine += await spool.claim([(queue.id, 3) for queue in due.queues], now())


async def accept(spool: LocalSpool, dice: random.Random) -> list[Delivery]:
    """Store a message; gives those of its deliveries that are ours."""
    state = State.CLAIMED if dice.random() < 0.7 else State.WAITING
    names = [f"d{dice.randrange(9)}.test" for _ in range(dice.choice((1, 1, 1, 3)))]
    message, deliveries = message_to(spool, *names, now=now(), state=state)
    content = dice.randbytes(dice.choice((100, 3000, 20_000)))
    events = [b"a%d" % d.id for d in deliveries]
    sha = hashlib.sha256(content).hexdigest()
    say("try", message.id, sha, *(d.id for d in deliveries))
    await spool.accept(message, content, deliveries, events)
    say("ack", message.id)
    return deliveries if state is State.CLAIMED else []


async def settle(spool: LocalSpool, dice: random.Random, delivery: Delivery) -> None:
    """End a claim in one of the possible ways."""
    chance = dice.random()
    if chance < 0.6:
        say("end", delivery.id)
        settlement = Settlement(
            delivery=delivery.id,
            message=delivery.message,
            disposition=Disposition.DONE,
            events=(b"d%d" % delivery.id,),
        )
        await spool.settle([settlement])
        say("ended", delivery.id)
    elif chance < 0.9:
        await spool.settle([retry(delivery, now())])
    else:
        await spool.settle(
            [
                Settlement(
                    delivery=delivery.id, message=delivery.message, disposition=Disposition.HOLD
                )
            ]
        )


if __name__ == "__main__":
    asyncio.run(
        main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sync="nosync" not in sys.argv)
    )

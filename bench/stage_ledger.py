"""What folding costs: events per second and CPU per message, through the real fold into SQLite.

Run `python -m bench.stage_ledger [deliveries]`. The mix: every delivery accepted and delivered or
bounced, 5 % deferred once, 25 % opened, 6 % clicked; 4 spools, 20 campaigns of 5 sending domains,
2,000 recipient domains (half of the mail to the first ten), 4 tags, batches of 50 events, folded 20
at once (one frame of a worker) and 80 (four frames that waited). Outcomes come 1,500 messages after
acceptances, so most rows are made in one fold and changed in another; hits come last.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from metrics.events import Event, Hit, Kind, encode
from relay.clock import SECOND
from relay.ids import IdSource
from relay.ledger.engine import open_ledger
from relay.ledger.fold import Folder
from relay.spool.protocol import Batch

SPOOLS = 4
LAG = 1500
BATCH = 50
BATCHES_PER_FOLD = (20, 80)
START = 1_790_000_000 * SECOND
SUBJECT = "Autumn offers: everything you looked at last week, and a little more"
TRANSCRIPT = "\n".join(f"step {n}: MAIL FROM, RCPT TO, 250 2.1.5 Ok" for n in range(6))


def story(rng: random.Random, number: int, id_: int, at: int) -> Iterator[Event]:
    """Give the facts of one delivery."""
    number_of_campaign = rng.randrange(20)
    campaign = f"campaign-{number_of_campaign}"
    domain_number = rng.randrange(10) if rng.random() < 0.5 else rng.randrange(2000)
    known: dict[str, Any] = {
        "delivery": id_,
        "message": id_,
        "account": 1,
        "sending_domain": f"shop{number_of_campaign % 5}.test",
        "sending_domain_id": 7,
        "recipient": f"person{number}@inbox{domain_number}.test",
        "recipient_domain": f"inbox{domain_number}.test",
        "provider": f"provider{domain_number % 7}",
        "campaign": campaign,
        "campaign_hash": hash(campaign) & (1 << 63) - 1,
        "template": "newsletter",
        "tags": (f"tag{rng.randrange(4)}",),
        "node": "node1",
    }
    yield Event(
        kind=Kind.ACCEPTED,
        at=at,
        message_id=f"<{id_}@shop.test>",
        subject=SUBJECT,
        sender="news@shop.test",
        size=40_000,
        tracked="opens clicks",
        **known,
    )
    if rng.random() < 0.05:
        yield Event(
            kind=Kind.DEFERRED,
            at=at + SECOND,
            reply="451 4.7.1 later",
            attempt=1,
            **known,
        )
    outcome: dict[str, Any] = {"kind": Kind.DELIVERED, "took_ms": rng.randrange(200, 9000)}
    if rng.random() < 0.02:
        outcome = {"kind": Kind.BOUNCED, "category": "hard", "reason": "no such user"}
    yield Event(
        at=at + 2 * SECOND,
        reply="2.0.0 Ok: queued as 4F1",
        transcript=TRANSCRIPT,
        **known,
        **outcome,
    )
    token: dict[str, Any] = {"delivery": id_, "account": 1, "sending_domain_id": 7}
    hit = Hit(user_agent="Mozilla/5.0 (iPhone)", address="192.0.2.1")
    if rng.random() < 0.25:
        yield Event(kind=Kind.OPENED, at=at + 60 * SECOND, hit=hit, **token)
    if rng.random() < 0.06:
        yield Event(kind=Kind.CLICKED, at=at + 90 * SECOND, hit=hit, **token)


def batches(deliveries: int, per_fold: int) -> list[tuple[str, list[Batch]]]:
    """Give what the spools send, in turn, as the folds get it."""
    rng = random.Random(1)  # noqa: S311 - a repeatable load, no secret
    ids = [IdSource(n, clock=lambda: START) for n in range(SPOOLS)]
    timeline: list[tuple[int, int, bytes]] = []  # when it is sent, by which spool, what
    for number in range(deliveries):
        spool = number % SPOOLS
        for event in story(rng, number, ids[spool].take(), START + number * 1000):
            if event.hit:
                timeline.append((deliveries + number, rng.randrange(SPOOLS), encode(event)))
            else:
                lag = 0 if event.kind is Kind.ACCEPTED else LAG
                timeline.append((number + lag, spool, encode(event)))
    timeline.sort(key=lambda entry: entry[0])
    made: list[tuple[str, list[Batch]]] = []
    waiting: list[list[bytes]] = [[] for _ in range(SPOOLS)]
    seqs = [0] * SPOOLS

    def send(spool: int) -> None:
        events, waiting[spool] = waiting[spool], []
        many = []
        for i in range(0, len(events), BATCH):
            seqs[spool] += 1
            many.append(Batch(seqs[spool], tuple(events[i : i + BATCH])))
        made.append((f"spool-{spool}", many))

    for _, spool, data in timeline:
        waiting[spool].append(data)
        if len(waiting[spool]) == BATCH * per_fold:
            send(spool)
    for spool in range(SPOOLS):
        send(spool)
    return made


def yardstick() -> float:
    """Give the CPU seconds of a million dictionary updates: how fast this core is just now."""
    counts: dict[int, int] = {}
    began = time.process_time()
    for number in range(1_000_000):
        counts[number & 1023] = counts.get(number & 1023, 0) + 1
    return time.process_time() - began


async def measure(deliveries: int, url: str, per_fold: int) -> None:
    """Fold everything and print the figures; making the events is not counted."""
    prepared = batches(deliveries, per_fold)
    count = sum(len(batch.events) for _, many in prepared for batch in many)
    async with open_ledger(url) as ledger:
        folder = Folder(ledger)
        speed = yardstick()
        wall, cpu = time.perf_counter(), time.process_time()
        for spool, many in prepared:
            await folder.fold(spool, many)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        speed = (speed + yardstick()) / 2
    print(f"{count} events of {deliveries} messages in {len(prepared)} folds")
    print(f"{count / wall:,.0f} events/s, {count / cpu:,.0f} events per CPU second")
    print(f"{cpu / deliveries * 1000:.3f} ms CPU per message, {cpu / count * 1e6:.1f} us per event")
    print(f"yardstick: a million dictionary updates took {speed:.3f} s of CPU")


def main() -> None:
    """Measure on a fresh SQLite ledger, or on the URL given as second argument."""
    deliveries = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    given = len(sys.argv) > 2
    for per_fold in BATCHES_PER_FOLD[:1] if given else BATCHES_PER_FOLD:
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{Path(folder) / 'ledger.sqlite'}"
            asyncio.run(measure(deliveries, sys.argv[2] if given else url, per_fold))


if __name__ == "__main__":
    main()

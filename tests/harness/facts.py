"""Facts for ledger tests: deliveries with made-up lives, batches of them, and a picture of a
ledger.

The picture shows everything the ledger promises to be independent of order: events, rows, cubes,
first facts and distinct recipients; numbers given by the database (ids of events and mailings) are
left out.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from metrics.distinct import Crowd
from metrics.events import Event, Hit, Kind, encode
from metrics.hits import Circumstances, Nature, Verdict
from metrics.measures import NAMES
from relay.clock import SECOND
from relay.ledger import crowds, tables
from relay.ledger.engine import Ledger
from relay.spool.protocol import Batch

START = 1_790_000_000 * SECOND  # 2026-09-21 13:33:20 UTC
ACCOUNT, DOMAIN_ID = 3, 11


class BurstRule:
    """A classifier that changes its mind: hits before delivery or within two seconds are
    machines'."""

    def classify(self, around: Circumstances, hits: Sequence[Event]) -> Sequence[Verdict]:
        """Call a hit human when it stands alone and comes after delivery."""
        moments = [hit.at for hit in hits]
        return [
            Verdict(
                Nature.SCANNER
                if hit.at < around.delivered_at
                or sum(abs(hit.at - at) <= 2 * SECOND for at in moments) > 1
                else Nature.HUMAN,
                hit.hit.user_agent if hit.hit else "",
            )
            for hit in hits
        ]


def known(number: int, **changes: Any) -> dict[str, Any]:
    """Give every dimension of a delivery, as its acceptance tells them."""
    return {
        "delivery": number,
        "message": number,
        "account": ACCOUNT,
        "sending_domain": "shop.test",
        "sending_domain_id": DOMAIN_ID,
        "recipient": f"ann{number}@inbox.test",
        "recipient_domain": "inbox.test",
        "provider": "inbox",
        "campaign": "autumn",
        "campaign_hash": 77,
        "template": "plain",
        "tags": ("red", "blue"),
        "message_id": f"<{number}@shop.test>",
        "subject": "Hello",
        "sender": "news@shop.test",
        "size": 1000,
        **changes,
    }


def accepted(number: int, at: int = START, **changes: Any) -> Event:
    """Make the event that opens a delivery."""
    return Event(kind=Kind.ACCEPTED, at=at, **known(number, **changes))


def about(kind: Kind, number: int, at: int, **changes: Any) -> Event:
    """Make an event that knows its delivery only."""
    return Event(kind=kind, at=at, delivery=number, **changes)


def hit(kind: Kind, number: int, at: int, agent: str = "phone", link: int = 0) -> Event:
    """Make a hit as the tracking host tells it: the ids of the token."""
    return Event(
        kind=kind,
        at=at,
        delivery=number,
        account=ACCOUNT,
        sending_domain_id=DOMAIN_ID,
        campaign_hash=77,
        hit=Hit(user_agent=agent, link=link, url=f"https://shop.test/{link}" if link else ""),
    )


def life(rng: random.Random, number: int, first: int) -> list[list[Event]]:
    """Make a delivery's life: one list for the spool that took it, one for everybody else's
    facts."""
    at = first + rng.randrange(3 * 3600) * SECOND
    dims = {
        "recipient": f"ann{rng.randrange(5)}@inbox{number % 3}.test",
        "recipient_domain": f"inbox{number % 3}.test",
        "campaign": rng.choice(["autumn", "winter"]),
        "template": rng.choice(["a", ""]),
        "tags": rng.choice([(), ("red",), ("red", "blue")]),
    }
    if rng.random() < 0.1:
        return [[Event(kind=Kind.EXCLUDED, at=at, reason="suppressed", **known(number, **dims))]]
    own = [accepted(number, at, **dims)]
    for _ in range(rng.choice([0, 0, 1, 2])):
        at += rng.randrange(2000) * SECOND
        own.append(about(Kind.DEFERRED, number, at, reply="451 later"))
    at += rng.randrange(3000) * SECOND
    ending = rng.random()
    if ending < 0.1:
        own.append(about(Kind.BOUNCED, number, at, category="hard", reason="no such user"))
    elif ending < 0.2:
        own.append(about(Kind.FAILED, number, at, reason="expired"))
    elif ending < 0.9:
        own.append(about(Kind.DELIVERED, number, at, took_ms=rng.randrange(100_000)))
    others: list[Event] = []
    for _ in range(rng.choice([0, 0, 1, 2, 4])):
        at += rng.choice([0, 1, 50, 4000]) * SECOND - rng.choice([0, 0, 6000]) * SECOND
        kind = rng.choice([Kind.OPENED, Kind.CLICKED])
        link = rng.randrange(1, 3) if kind is Kind.CLICKED else 0
        others.append(hit(kind, number, at, rng.choice(["phone", "desk"]), link))
    if rng.random() < 0.3:
        category = rng.choice(["hard", "soft", "ignored"])
        others.append(
            about(
                Kind.BOUNCED, number, at + SECOND, returned=True, category=category, reason="full"
            )
        )
    for kind in (Kind.UNSUBSCRIBED, Kind.COMPLAINED, Kind.AUTOREPLIED):
        if rng.random() < 0.15:
            others += [about(kind, number, at + 7 * SECOND)] * rng.choice([1, 2])
    return [own, *([event] for event in others)]


def batches(events: Iterable[Event], size: int = 3, first: int = 1) -> list[Batch]:
    """Cut events into numbered batches."""
    every = [encode(event) for event in events]
    return [
        Batch(first + i // size, tuple(every[i : i + size])) for i in range(0, len(every), size)
    ]


async def picture(ledger: Ledger) -> dict[str, Any]:
    """Show what must not depend on order; absorbs sightings and rebuilds stale crowds first."""
    await ledger.write(crowds.rebuild)
    await ledger.write(crowds.absorb)
    return await ledger.read(_picture)


def _picture(connection: Connection) -> dict[str, Any]:
    m = tables.mailings.c
    names = {
        row[0]: tuple(row[1:])
        for row in connection.execute(
            select(m.id, m.account, m.sending_domain, m.campaign, m.template)
        )
    }
    names[0] = ()
    e = tables.events.c
    shown: dict[str, Any] = {
        "events": sorted(
            (row.delivery, row.kind, bytes(row.body), row.nature or 0, row.platform or "")
            for row in connection.execute(select(e.delivery, e.kind, e.body, e.nature, e.platform))
        ),
        "marks": sorted(map(tuple, connection.execute(select(*tables.marks.c)))),
    }
    for table in (tables.deliveries, tables.quarters, tables.hours, tables.days, tables.facets):
        # A cell that went back to zero is as good as none.
        shown[table.name] = sorted(
            tuple(
                names[value] if key == "mailing" else value
                for key, value in row.items()
                if key != "recipient_key"  # every ledger has its own
            )
            for row in connection.execute(select(*table.c)).mappings()
            if table is tables.deliveries or any(row[name] for name in NAMES)
        )
    shown["durations"] = sorted(
        (row.start, names[row.mailing], row.bucket, row.count_)
        for row in connection.execute(
            select(
                tables.durations.c.start,
                tables.durations.c.mailing,
                tables.durations.c.bucket,
                tables.durations.c["count"].label("count_"),
            )
        )
        if row.count_
    )
    c = tables.counters.c
    shown["counters"] = sorted(
        map(tuple, connection.execute(select(*tables.counters.c).where(c.name == "events")))
    )
    shown["crowds"] = {
        (row.measure, row.grain, row.start, names[row.mailing], row.value): size
        for row in connection.execute(select(*tables.sketches.c))
        if (size := _size(bytes(row.sketch)))
    }
    return shown


def _size(sketch: bytes) -> int:
    crowd = Crowd()
    crowd.add_sketch(sketch)
    return crowd.count()


def with_at(event: Event, at: int) -> Event:
    """Give an event at another moment."""
    return msgspec.structs.replace(event, at=at)

"""Questions to a spool file: which queues are due, what waits, what the outbox holds.

Every answer is bounded by a limit or by the number of queues; no question reads all deliveries.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from relay.message import Delivery, State
from relay.spool.database import Database, Row
from relay.spool.group import decode, replace
from relay.spool.protocol import Batch, Due, DueQueue, QueueKey, Selection, Waiting

SCAN = 5_000  # queues looked at for one answer to `due`
DESTINATIONS = 1_000  # given in one answer
KEY = "destination, account, campaign, sending_domain, priority"
QUEUED = "q.id, q.message, q.queue, q.state, q.not_before, q.held_at, q.body"

_events = msgspec.msgpack.Decoder(tuple[bytes, ...]).decode


def due(database: Database, now: int, limit: int, exclude: Collection[str], after: int) -> Due:
    """Give queues that are due, the longest due first, then those due later.

    `after` is a next_due below which not to look, so that a caller can go on where it stopped.
    """
    found: list[DueQueue] = []
    for page in database.pages(
        f"SELECT id, {KEY}, waiting, next_due FROM queues "  # noqa: S608 - our own names
        "WHERE waiting > 0 AND paused = 0 AND next_due <= ? AND next_due >= ? "
        "ORDER BY next_due, id LIMIT ?",
        (now, after, SCAN),
    ):
        wanted = (row for row in page if row[1] not in exclude)
        found += [DueQueue(row[0], QueueKey(*row[1:6]), row[6], row[7]) for row in wanted]
        if len(found) >= limit:
            del found[limit:]
            break
    later = database.number(
        "SELECT min(next_due) FROM queues WHERE waiting > 0 AND paused = 0 AND next_due > ?",
        (now,),
    )
    return Due(found, later)


def key_filter(selection: Selection) -> tuple[str, list[object]]:
    """Give the WHERE clause on `queues` that a selection means, and its values."""
    wanted = {
        "destination": selection.destination,
        "account": selection.account,
        "campaign": selection.campaign,
        "sending_domain": selection.sending_domain,
    }
    chosen = {name: value for name, value in wanted.items() if value is not None}
    clause = " AND ".join(f"{name} = ?" for name in chosen) or "1"
    return clause, list(chosen.values())


def destinations(database: Database, after: str) -> list[Waiting]:
    """Sum up the queues by destination, a bounded number by name above `after`."""
    rows = database.rows(
        "SELECT destination, sum(waiting), sum(held), min(nullif(oldest, 0)), "
        "min(CASE WHEN waiting > 0 THEN next_due END), max(last_reply) FROM queues "
        "WHERE destination > ? GROUP BY destination ORDER BY destination LIMIT ?",
        (after, DESTINATIONS),
    )
    return [
        Waiting(name, waiting, 0, held, oldest or 0, next_due or 0, said)
        for name, waiting, held, oldest, next_due, said in rows
    ]


def queues(database: Database, selection: Selection, limit: int) -> list[tuple[QueueKey, Waiting]]:
    """Give the queues of a selection, those with most deliveries first."""
    clause, values = key_filter(selection)
    rows = database.rows(
        f"SELECT {KEY}, waiting, held, oldest, next_due, last_reply FROM queues "  # noqa: S608
        f"WHERE waiting + held > 0 AND {clause} ORDER BY waiting + held DESC, id LIMIT ?",
        (*values, limit),
    )
    return [(QueueKey(*r[:5]), Waiting(r[0], r[5], 0, r[6], r[7], r[8], r[9])) for r in rows]


def waiting(database: Database, selection: Selection, limit: int, after: int) -> list[Delivery]:
    """Give waiting and held deliveries of a selection, by id."""
    clause, values = key_filter(selection)
    low, high = after + 1, 1 << 62
    if selection.message is not None:
        row = database.row("SELECT first, last FROM messages WHERE id = ?", (selection.message,))
        if row is None:
            return []
        low, high = max(low, row[0]), row[1]
        clause += " AND q.message = ?"
        values.append(selection.message)
    if selection.delivery is not None:
        low, high = max(low, selection.delivery), selection.delivery
    rows = database.rows(
        f"SELECT {QUEUED}, {KEY} FROM queued q JOIN queues ON queues.id = q.queue "  # noqa: S608
        f"WHERE q.id BETWEEN ? AND ? AND {clause} ORDER BY q.id LIMIT ?",
        (low, high, *values, limit),
    )
    return [as_waiting(row[:7], QueueKey(*row[7:])) for row in rows]


def as_waiting(row: Row, key: QueueKey) -> Delivery:
    """Build a delivery from its row of `queued` (see QUEUED); columns win over the body."""
    delivery = decode(row[6])
    state = State(row[3])
    if (
        delivery.not_before == row[4]
        and delivery.state is state
        and delivery.destination == key.destination
    ):
        return delivery
    return replace(delivery, state=state, not_before=row[4], destination=key.destination)


def batches(database: Database, after: int, limit: int) -> list[Batch]:
    """Give outbox rows above `after`, in order."""
    rows = database.rows(
        "SELECT id, events FROM outbox WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
    )
    return [Batch(seq, _events(events)) for seq, events in rows]


def left(database: Database) -> bool:
    """Tell whether there is any mail or any fact."""
    return any(
        database.row(f"SELECT 1 FROM {table} LIMIT 1")  # noqa: S608 - our own names
        for table in ("messages", "claimed", "queued", "outbox")
    )

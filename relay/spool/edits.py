"""Changes to what waits: claims by dispatch, commands of an operator, pauses, the forgotten outbox.

Each function runs inside a group commit, in the writer thread, and is bounded in what it touches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from relay.message import Delivery, Disposition, Settlement, State
from relay.spool.database import Database, Row
from relay.spool.group import INSERT_CLAIMED, INSERT_QUEUED, Group, encode, replace, settled
from relay.spool.protocol import QueueKey, Selection
from relay.spool.queries import KEY, QUEUED, as_waiting, key_filter
from relay.spool.states import FACTS, Fact, move

STEP = 500  # deliveries changed, or queues looked at, in one step
Change = Callable[[Delivery], Settlement | None]


def claim(group: Group, picks: Sequence[tuple[int, int]], now: int) -> list[Delivery]:
    """Take due deliveries of queues into the caller's hands."""
    taken: list[Delivery] = []
    for queue, limit in picks:
        found = group.database.row(
            f"SELECT {KEY} FROM queues WHERE id = ? AND paused = 0",  # noqa: S608
            (queue,),
        )
        if found is None or limit <= 0:
            continue
        key = QueueKey(*found)
        rows = group.database.rows(
            f"SELECT {QUEUED} FROM queued q WHERE queue = ? AND state = 0 "  # noqa: S608
            "AND not_before <= ? ORDER BY not_before, id LIMIT ?",
            (queue, now, limit),
        )
        for row in rows:
            waiting = as_waiting(row, key)
            taken.append(replace(waiting, state=State.CLAIMED))
            group.count_message(waiting.message, 0, 1)
            group.place(waiting.message)  # into memory, for `load`
        group.count_queue(queue, -len(rows), 0)
    group.database.delete("queued", [d.id for d in taken])
    group.database.insert(INSERT_CLAIMED, [(d.id, d.message, encode(d)) for d in taken])
    return taken


def change(
    group: Group, rows: list[tuple[Delivery, int, int]], wanted: Change, destination: str | None
) -> int:
    """Settle deliveries that wait, given with their queue and the moment they were held."""
    gone: list[int] = []
    back: list[Delivery] = []
    for delivery, queue, held_at in rows:
        settlement = wanted(delivery)
        if settlement is None and (destination is None or destination == delivery.destination):
            continue
        held = delivery.state is State.HELD
        gone.append(delivery.id)
        group.count_queue(queue, -int(not held), -int(held))
        after = _changed(group, delivery, settlement, held_at)
        if after is None:
            group.count_message(delivery.message, -1, 0)
        else:
            back.append(after if destination is None else replace(after, destination=destination))
        if settlement is not None:
            group.events += settlement.events
    group.database.delete("queued", gone)
    group.database.insert(INSERT_QUEUED, [group.queue(d) for d in back])
    return len(gone)


def _changed(
    group: Group, delivery: Delivery, settlement: Settlement | None, held_at: int
) -> Delivery | None:
    if settlement is None:
        return delivery  # moved only
    fact = FACTS[settlement.disposition]
    if delivery.state is State.HELD and fact is Fact.RETRY:
        fact = Fact.RELEASE
        age = max(group.now - held_at, 0)  # time held does not count as age
        delivery = replace(delivery, starts_at=delivery.starts_at + age)
    move(delivery.state, fact)
    if settlement.disposition is Disposition.DONE:
        return None
    return settled(settlement, delivery)


def step(
    group: Group,
    selection: Selection,
    cursor: tuple[int, int, int, int],
    wanted: Change,
    destination: str | None,
) -> tuple[int, tuple[int, int, int, int] | None]:
    """Change up to STEP deliveries of a selection's queues from `cursor` on.

    The cursor is (queue, state, not_before, id), at first all 0; gives how many were changed and
    the next cursor, None at the end.
    """
    clause, values = key_filter(selection)
    queue, state, not_before, id_ = cursor
    key = group.database.row(
        f"SELECT id, {KEY} FROM queues WHERE id >= ? AND {clause} "  # noqa: S608
        "AND waiting + held > 0 ORDER BY id LIMIT 1",
        (queue, *values),
    )
    if key is None:
        return 0, None
    if key[0] != queue:
        queue, state, not_before, id_ = key[0], 0, -(1 << 62), 0
    rows = group.database.rows(
        f"SELECT {QUEUED} FROM queued q WHERE queue = ? AND state = ? "  # noqa: S608
        "AND (not_before, id) > (?, ?) ORDER BY not_before, id LIMIT ?",
        (queue, state, not_before, id_, STEP),
    )
    name = QueueKey(*key[1:])
    count = change(group, [(as_waiting(r, name), r[2], r[5]) for r in rows], wanted, destination)
    if len(rows) == STEP:
        return count, (queue, state, rows[-1][4], rows[-1][0])
    if state == State.WAITING:
        return count, (queue, int(State.HELD), -(1 << 62), 0)
    return count, (queue + 1, 0, -(1 << 62), 0)


def change_message(
    group: Group, selection: Selection, wanted: Change, destination: str | None
) -> int:
    """Change the waiting deliveries of one message, or one delivery."""
    clause, values = key_filter(selection)
    low, high = 0, 1 << 62
    if selection.message is not None:
        found = group.database.row(
            "SELECT first, last FROM messages WHERE id = ?", (selection.message,)
        )
        low, high = found or (1, 0)
        clause += " AND q.message = ?"
        values.append(selection.message)
    if selection.delivery is not None:
        low = high = selection.delivery
    rows = group.database.rows(
        f"SELECT {QUEUED}, {KEY} FROM queued q JOIN queues ON queues.id = q.queue "  # noqa: S608
        f"WHERE q.id BETWEEN ? AND ? AND {clause}",
        (low, high, *values),
    )
    found_rows = [(as_waiting(r[:7], QueueKey(*r[7:])), r[2], r[5]) for r in rows]
    return change(group, found_rows, wanted, destination)


def pause(group: Group, after: int) -> int | None:
    """Mark queues with ids above `after`, a bounded number; gives the last id, None at the end."""
    paused = group.index.paused
    rows = group.database.rows(
        f"SELECT id, paused, {KEY} FROM queues WHERE id > ? ORDER BY id LIMIT ?",  # noqa: S608
        (after, STEP * 4),
    )
    for id_, was, *key in rows:
        wanted = int(paused is not None and paused(QueueKey(*key)))
        if wanted != was:
            group.database.run("UPDATE queues SET paused = ? WHERE id = ?", (wanted, id_))
    return rows[-1][0] if len(rows) == STEP * 4 else None


def forget(group: Group, upto: int) -> None:
    """Drop outbox rows the ledger has; what must outlive them goes into `meta`."""
    size = group.database.number("SELECT sum(size) FROM outbox WHERE id <= ?", (upto,))
    if group.database.run("DELETE FROM outbox WHERE id <= ?", (upto,)):
        group.forget_outbox(size)
        for key, value in (("seq", group.index.seq), ("last_id", group.index.last_id)):
            group.database.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def empty_queues(database: Database) -> list[Row]:
    """Give some queues in which nothing waits."""
    return database.rows(
        f"SELECT id, {KEY} FROM queues WHERE waiting = 0 AND held = 0 LIMIT ?",  # noqa: S608
        (STEP,),
    )


def sweep(group: Group) -> None:
    """Delete some queues in which nothing waits."""
    rows = empty_queues(group.database)
    for _, *key in rows:
        group.index.queue_ids.pop(QueueKey(*key), None)
    group.database.delete("queues", [row[0] for row in rows])

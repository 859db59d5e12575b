"""One group commit: from work in memory to one transaction on disk.

Guarantees the order that makes a crash harmless: contents are written and synced before the
transaction that names them; the transaction holds every change together with its facts; the
writer's memory (`Index`) follows only after COMMIT. A group that fails has changed nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from relay.errors import StorageError
from relay.message import Delivery, Disposition, Settlement, State
from relay.spool import record
from relay.spool.database import Database, Row
from relay.spool.index import Index, Place, SegmentState
from relay.spool.protocol import Batch, QueueKey
from relay.spool.segments import Segments
from relay.spool.work import Accepting, Work

encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Delivery).decode
replace = msgspec.structs.replace

INSERT_CLAIMED = "INSERT INTO claimed (id, message, body)"
INSERT_QUEUED = "INSERT INTO queued (id, message, queue, state, not_before, held_at, body)"
_INSERT_MESSAGES = "INSERT INTO messages (id, segment, place, length, pending, first, last)"
_FIND_QUEUE = """SELECT id FROM queues WHERE destination = ? AND account = ? AND campaign = ?
    AND sending_domain = ? AND priority = ?"""
_NEW_QUEUE = """INSERT INTO queues
    (destination, account, campaign, sending_domain, priority, paused)
    VALUES (?, ?, ?, ?, ?, ?) RETURNING id"""
_COUNT_QUEUE = """UPDATE queues SET
    next_due = coalesce((SELECT min(not_before) FROM queued WHERE queue = ? AND state = 0), 0),
    oldest = CASE WHEN waiting + held + ? = 0 THEN 0 WHEN ? > 0 AND (oldest = 0 OR ? < oldest)
        THEN ? ELSE oldest END,
    last_reply = CASE ? WHEN '' THEN last_reply ELSE ? END,
    waiting = waiting + ?, held = held + ? WHERE id = ?"""
_KEEP_SEGMENT = """INSERT INTO segments (id, size, live, live_bytes) VALUES (?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET size = excluded.size, live = excluded.live,
    live_bytes = excluded.live_bytes"""


class _QueueChange:
    """What a group does to one queue."""

    __slots__ = ("held", "last_reply", "oldest", "waiting")

    def __init__(self) -> None:
        self.waiting = self.held = self.oldest = 0
        self.last_reply = ""


class Group:
    """The changes of one transaction. Use once: `write`, COMMIT, `apply`."""

    def __init__(self, database: Database, segments: Segments, index: Index, now: int) -> None:
        """Start with nothing changed; `now` is microseconds since the epoch."""
        self.database = database
        self.index = index
        self.now = now
        self.segments = segments
        self.events: list[bytes] = []
        self._messages: dict[int, tuple[int, int]] = {}  # change of pending, of claimed
        self._places: dict[int, Place] = {}  # read or made in this group
        self._queue_ids: dict[QueueKey, int] = {}
        self._queues: dict[int, _QueueChange] = {}
        self._segments: dict[int, SegmentState] = {}
        self._last_id = index.last_id
        self.batch: Batch | None = None
        self._outbox_bytes = 0
        self._gone: list[int] = []  # messages that leave
        self._moved: list[tuple[Place, int, int]] = []
        self.dead_segments: list[int] = []

    # -- what work is made of --------------------------------------------------------------

    def write(self, work: Work) -> None:
        """Write everything of `work` but its jobs; contents are synced on return."""
        if work.accepting:
            self._accept(work.accepting)
        if work.settling:
            self._settle(work.settling)
        self.events += work.events

    def _accept(self, accepting: list[Accepting]) -> None:
        self.segments.roll()
        number, offset = self.segments.number, self.segments.size
        parts: list[bytes] = []
        messages: list[Row] = []
        claimed: list[Row] = []
        queued: list[Row] = []
        start = offset
        for a in accepting:
            header = record.pack(a.message, a.envelope, a.content)
            parts += (header, a.envelope, a.content)
            length = len(header) + len(a.envelope) + len(a.content)
            ids = [d.id for d in a.deliveries]
            first, last = min(ids), max(ids)
            messages.append((a.message, number, offset, length, len(ids), first, last))
            if a.claimed:
                self._places[a.message] = Place(number, offset, length, len(ids), 0)
                self._messages[a.message] = (0, len(a.claimed))
                claimed += [(d.id, d.message, encode(d)) for d in a.claimed]
            if len(a.claimed) < len(ids):
                queued += [self.queue(d) for d in a.deliveries if d.state is not State.CLAIMED]
            self._last_id = max(self._last_id, a.message, last)
            self.events += a.events
            offset += length
        self.segments.append(parts, offset - start)
        state = self._segment(number)
        state.live += len(messages)
        state.live_bytes += offset - start
        state.size = offset
        self.database.insert(_INSERT_MESSAGES, messages)
        self.database.insert(INSERT_CLAIMED, claimed)
        self.database.insert(INSERT_QUEUED, queued)

    def _settle(self, settling: Sequence[tuple[Settlement, Delivery]]) -> None:
        queued: list[Row] = []
        for settlement, delivery in settling:
            done = settlement.disposition is Disposition.DONE
            self.count_message(delivery.message, -1 if done else 0, -1)
            if not done:
                queued.append(self.queue(settled(settlement, delivery), settlement.last_reply))
            self.events += settlement.events
        self.database.delete("claimed", [s.delivery for s, _ in settling])
        self.database.insert(INSERT_QUEUED, queued)

    # -- what jobs use ---------------------------------------------------------------------

    def queue(self, delivery: Delivery, last_reply: str = "") -> Row:
        """Count a delivery into its queue; gives its row of the table `queued`."""
        key = QueueKey(
            delivery.destination,
            delivery.account,
            delivery.campaign,
            delivery.sending_domain,
            delivery.priority,
        )
        queue = self.queue_id(key)
        held = delivery.state is State.HELD
        self.count_queue(
            queue, int(not held), int(held), delivery.starts_at or delivery.not_before, last_reply
        )
        return (
            delivery.id,
            delivery.message,
            queue,
            int(delivery.state),
            delivery.not_before,
            self.now if held else 0,
            encode(delivery),
        )

    def queue_id(self, key: QueueKey) -> int:
        """Give the number of a queue, made where it is new."""
        known = self.index.queue_ids.get(key) or self._queue_ids.get(key)
        if known is None:
            row = self.database.row(_FIND_QUEUE, key)
            if row is None:
                paused = self.index.paused is not None and self.index.paused(key)
                row = self.database.row(_NEW_QUEUE, (*key, int(paused)))
            assert row is not None  # noqa: S101 - INSERT RETURNING gives one
            known = self._queue_ids[key] = int(row[0])
        return known

    def count_queue(
        self, queue: int, waiting: int, held: int, oldest: int = 0, last_reply: str = ""
    ) -> None:
        """Change the counts of a queue; its next due time is read again at the end."""
        change = self._queues.get(queue)
        if change is None:
            change = self._queues[queue] = _QueueChange()
        change.waiting += waiting
        change.held += held
        if oldest and (not change.oldest or oldest < change.oldest):
            change.oldest = oldest
        change.last_reply = last_reply or change.last_reply

    def count_message(self, message: int, pending: int, claimed: int) -> None:
        """Change how many deliveries of a message are left and how many are claimed."""
        before = self._messages.get(message, (0, 0))
        self._messages[message] = (before[0] + pending, before[1] + claimed)

    def place(self, message: int) -> Place | None:
        """Give where a message lies as of the last commit; None when it is gone."""
        place = self.index.places.get(message) or self._places.get(message)
        if place is None:
            place = read_place(self.database, message)
            if place is not None:
                self._places[message] = place
        return place

    def relocate(self, message: int, place: Place, segment: int, offset: int) -> None:
        """Say that a message now lies elsewhere (its record was copied on)."""
        self.database.run(
            "UPDATE messages SET segment = ?, place = ? WHERE id = ?", (segment, offset, message)
        )
        old, new = self._segment(place.segment), self._segment(segment)
        old.live -= 1
        old.live_bytes -= place.length
        new.live += 1
        new.live_bytes += place.length
        new.size = max(new.size, offset + place.length)
        self._moved.append((place, segment, offset))

    def drop_if_dead(self, segment: int) -> None:
        """Let a segment go with this group if nothing in it is live."""
        self._segment(segment)

    # -- the end ---------------------------------------------------------------------------

    def finish(self) -> None:
        """Write counts, segments and facts: the last statements before COMMIT."""
        self._finish_messages()
        for queue, c in self._queues.items():
            both, old, said = c.waiting + c.held, c.oldest, c.last_reply
            self.database.run(
                _COUNT_QUEUE,
                (queue, both, old, old, old, said, said, c.waiting, c.held, queue),
            )
        for number, state in self._segments.items():
            if state.live == 0 and number != self.segments.number:
                self.database.delete("segments", [number])
                self.dead_segments.append(number)
            else:
                self.database.run(_KEEP_SEGMENT, (number, state.size, state.live, state.live_bytes))
        if self.events or self._last_id > self.index.last_id:
            size = sum(map(len, self.events))
            seq = self.index.seq + 1
            self.database.run(
                "INSERT INTO outbox (id, last_id, size, events) VALUES (?, ?, ?, ?)",
                (seq, self._last_id, size, encode(self.events)),
            )
            self.batch = Batch(seq, tuple(self.events))
            self._outbox_bytes += size

    def _finish_messages(self) -> None:
        for message, (pending, _) in self._messages.items():
            if not pending:
                continue
            place = self.place(message)
            if place is None:
                continue
            left = place.pending + pending
            if left <= 0:
                self._gone.append(message)
                state = self._segment(place.segment)
                state.live -= 1
                state.live_bytes -= place.length
            else:
                self.database.run("UPDATE messages SET pending = ? WHERE id = ?", (left, message))
        self.database.delete("messages", self._gone)

    def forget_outbox(self, size: int) -> None:
        """Count what was taken out of the outbox."""
        self._outbox_bytes -= size

    def apply(self) -> None:
        """Let the writer's memory follow; call after COMMIT."""
        index = self.index
        for message, (pending, claimed) in self._messages.items():
            place = index.places.get(message) or self._places.get(message)
            if place is None:
                continue
            place.pending += pending
            place.claimed += claimed
            if place.pending > 0 and place.claimed > 0:
                index.places[message] = place
            else:
                index.places.pop(message, None)
        for place, segment, offset in self._moved:
            place.segment, place.offset = segment, offset
        for number, state in self._segments.items():
            index.segments[number] = state
        for number in self.dead_segments:
            index.segments.pop(number, None)
        index.waiting += sum(change.waiting for change in self._queues.values())
        index.held += sum(change.held for change in self._queues.values())
        index.learn_queues(self._queue_ids)
        index.last_id = self._last_id
        index.outbox_bytes += self._outbox_bytes
        if self.batch is not None:
            index.seq = self.batch.seq

    def gone(self) -> Iterable[int]:
        """Give the messages that left with this group."""
        return self._gone

    def _segment(self, number: int) -> SegmentState:
        state = self._segments.get(number)
        if state is None:
            known = self.index.segments.get(number, SegmentState())
            state = SegmentState(known.size, known.live, known.live_bytes)
            self._segments[number] = state
        return state


def settled(settlement: Settlement, delivery: Delivery) -> Delivery:
    """Give the delivery as it waits after this settlement; not for DONE."""
    kind = settlement.disposition
    if kind is Disposition.RETURN:
        return replace(delivery, state=State.WAITING)
    return replace(
        delivery,
        state=State.HELD if kind is Disposition.HOLD else State.WAITING,
        not_before=settlement.not_before or delivery.not_before,
        attempt=settlement.attempt,
        last_reply=settlement.last_reply,
        ambiguous=settlement.ambiguous,
    )


def decode(body: bytes) -> Delivery:
    """Read a stored delivery; raises StorageError where it is damaged."""
    try:
        return _decode(body)
    except (TypeError, msgspec.MsgspecError) as error:
        raise StorageError(f"a stored delivery is damaged: {error}") from error


def read_place(database: Database, message: int) -> Place | None:
    """Ask the database where a message lies."""
    row = database.row(
        "SELECT segment, place, length, pending FROM messages WHERE id = ?", (message,)
    )
    return None if row is None else Place(row[0], row[1], row[2], row[3], 0)

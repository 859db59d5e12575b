"""What the writer thread knows without asking SQLite; always as of the last commit.

Bounded: places only of messages with a claimed delivery, queue ids in a cache of fixed size, one
entry per segment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from relay.spool.protocol import QueueKey

QUEUE_CACHE = 50_000


@dataclass(slots=True)
class Place:
    """Where the record of a message lies, and how much of the message is left."""

    segment: int
    offset: int
    length: int
    pending: int  # deliveries that have not left the spool
    claimed: int  # of these, in a dispatcher's hands


@dataclass(slots=True)
class SegmentState:
    """How full a segment is."""

    size: int = 0
    live: int = 0  # messages
    live_bytes: int = 0


@dataclass(slots=True)
class Index:
    """The writer thread's memory."""

    places: dict[int, Place] = field(default_factory=dict)
    queue_ids: dict[QueueKey, int] = field(default_factory=dict)
    segments: dict[int, SegmentState] = field(default_factory=dict)
    seq: int = 0  # of the latest outbox row
    last_id: int = 0  # highest id ever stored
    outbox_bytes: int = 0
    waiting: int = 0  # deliveries
    held: int = 0
    damaged: int = 0  # messages whose record proved damaged
    paused: Callable[[QueueKey], bool] | None = None

    def learn_queues(self, found: dict[QueueKey, int]) -> None:
        """Remember queue ids, forgetting the oldest half when there are too many."""
        self.queue_ids.update(found)
        if len(self.queue_ids) > QUEUE_CACHE:
            for key in list(self.queue_ids)[: QUEUE_CACHE // 2]:
                del self.queue_ids[key]

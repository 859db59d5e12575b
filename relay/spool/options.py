"""The bounds of a spool, in one value."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolOptions:
    """How much a spool may keep where, and how it commits. Sizes are octets, times seconds."""

    segment_bytes: int = 64 * MIB  # a segment that has reached this is followed by a new one
    cache_bytes: int = 64 * MIB  # contents kept in memory
    outbox_bytes: int = 512 * MIB  # facts waiting for the ledger
    disk_reserve: int = 256 * MIB  # free space below which new mail is refused
    pending_bytes: int = 64 * MIB  # contents accepted in memory and not yet on disk
    group_bytes: int = 16 * MIB  # contents written in one group commit
    group_size: int = 512  # operations in one group commit
    checkpoint_bytes: int = 16 * MIB  # write-ahead log at which it is copied into the database
    soon_delay: float = 0.01  # how long a settlement or hit may wait for company
    survivors: float = 0.25  # a segment with a smaller share of live octets is copied on
    hold_ambiguous: bool = False  # what was claimed when a process died is held, not retried
    draining: bool = False  # takes no new mail: the spool of a worker that is no more
    sync: bool = True  # False loses mail; only for tests that must see it lost

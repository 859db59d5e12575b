"""The tables of a spool file, their version, and the steps from one version to the next.

Each step runs in one transaction together with the new version number, so that a kill leaves the
old schema or the new one. A file of a newer version than this program knows is refused.
"""

from __future__ import annotations

from relay.errors import StorageError
from relay.spool.database import Database

_V1 = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID",
    # what was submitted: where its record lies, and how many deliveries are still here
    """CREATE TABLE messages (
        id INTEGER PRIMARY KEY, segment INTEGER NOT NULL, place INTEGER NOT NULL,
        length INTEGER NOT NULL, pending INTEGER NOT NULL,
        first INTEGER NOT NULL, last INTEGER NOT NULL)""",
    # deliveries in a dispatcher's hands: small, emptied at start
    "CREATE TABLE claimed (id INTEGER PRIMARY KEY, message INTEGER NOT NULL, body BLOB NOT NULL)",
    # deliveries that wait (state 0) or are held (state 2)
    """CREATE TABLE queued (
        id INTEGER PRIMARY KEY, message INTEGER NOT NULL, queue INTEGER NOT NULL,
        state INTEGER NOT NULL, not_before INTEGER NOT NULL, held_at INTEGER NOT NULL,
        body BLOB NOT NULL)""",
    "CREATE INDEX queued_due ON queued (queue, state, not_before)",
    # the queues they are in, with their counts
    """CREATE TABLE queues (
        id INTEGER PRIMARY KEY, destination TEXT NOT NULL, account INTEGER NOT NULL,
        campaign TEXT NOT NULL, sending_domain TEXT NOT NULL, priority INTEGER NOT NULL,
        waiting INTEGER NOT NULL DEFAULT 0, held INTEGER NOT NULL DEFAULT 0,
        next_due INTEGER NOT NULL DEFAULT 0, oldest INTEGER NOT NULL DEFAULT 0,
        paused INTEGER NOT NULL DEFAULT 0, last_reply TEXT NOT NULL DEFAULT '',
        UNIQUE (destination, account, campaign, sending_domain, priority))""",
    "CREATE INDEX queues_due ON queues (next_due, id) WHERE waiting > 0 AND paused = 0",
    # segment files: committed length, live messages and live octets
    """CREATE TABLE segments (
        id INTEGER PRIMARY KEY, size INTEGER NOT NULL, live INTEGER NOT NULL,
        live_bytes INTEGER NOT NULL)""",
    # facts on their way to the ledger, one row per group commit
    """CREATE TABLE outbox (
        id INTEGER PRIMARY KEY, last_id INTEGER NOT NULL, size INTEGER NOT NULL,
        events BLOB NOT NULL)""",
)

STEPS: tuple[tuple[str, ...], ...] = (_V1,)
VERSION = len(STEPS)


def migrate(database: Database, steps: tuple[tuple[str, ...], ...] = STEPS) -> None:
    """Bring the file to the newest version; raises StorageError where it is newer than that."""
    version = database.number("PRAGMA user_version")
    if version > len(steps):
        raise StorageError(
            f"{database.path} has schema version {version}; this program knows {len(steps)}"
        )
    for number in range(version, len(steps)):
        database.begin()
        for statement in steps[number]:
            database.run(statement)
        database.run(f"PRAGMA user_version = {number + 1}")
        database.commit()

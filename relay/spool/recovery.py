"""From a directory as a crash left it to a spool that can go on.

What a start costs grows with what was claimed and with the number of segments, never with what
waits. Guarantees: claimed deliveries wait again, marked ambiguous; octets behind the committed
size of the last segment are cut off; files that no committed row names are removed. It may itself
be killed at any point and run again.
"""

from __future__ import annotations

import logging
import secrets
from pathlib import Path

from relay.errors import StorageError
from relay.ids import MAX_SPOOL_NUMBER, fresh_start
from relay.message import State
from relay.spool import schema
from relay.spool.database import Database
from relay.spool.files import Files
from relay.spool.group import INSERT_QUEUED, Group, decode, replace
from relay.spool.index import Index, SegmentState
from relay.spool.lock import DirectoryLock
from relay.spool.options import SpoolOptions
from relay.spool.segments import Segments
from relay.spool.states import Fact, move

log = logging.getLogger(__name__)

_STEP = 2_000


def make_directories(path: Path, files: Files) -> None:
    """Make the spool's directories where they are missing, on disk before anything is in them."""
    missing = [d for d in (path / "segments", path, *path.parents) if not d.exists()]
    for directory in reversed(missing):
        directory.mkdir(mode=0o700, exist_ok=True)
        files.sync_directory(directory.parent)


def open_database(path: Path, number: int, options: SpoolOptions) -> Database:
    """Open the spool file, bring its schema up to date and check whose it is."""
    if not 0 <= number <= MAX_SPOOL_NUMBER:
        raise ValueError(f"spool number {number} is not between 0 and {MAX_SPOOL_NUMBER}")
    database = Database(path / "spool.sqlite", sync=options.sync)
    try:
        _identify(database, path, number)
    except BaseException:
        database.close()
        raise
    return database


def stored_number(path: Path) -> int:
    """Give the number of an existing spool nobody works on; raises StorageError or SpoolHeldError.

    The lock is taken meanwhile, because opening the file may recover its log.
    """
    lock = DirectoryLock(path)
    try:
        database = Database(path / "spool.sqlite")
        try:
            return database.number("SELECT value FROM meta WHERE key = 'number'")
        finally:
            database.close()
    finally:
        lock.release()


def _identify(database: Database, path: Path, number: int) -> None:
    schema.migrate(database)
    if database.row("SELECT value FROM meta WHERE key = 'incarnation'") is None:
        database.begin()
        database.run("INSERT INTO meta VALUES ('incarnation', ?)", (secrets.token_hex(16),))
        database.run("INSERT INTO meta VALUES ('number', ?)", (number,))
        database.commit()
    own = database.number("SELECT value FROM meta WHERE key = 'number'")
    if own != number:
        raise StorageError(f"{path} holds spool number {own}, not {number}: it was moved or copied")


def recover(database: Database, segments: Segments, options: SpoolOptions, now: int) -> Index:
    """Bring index, segments and claimed deliveries to where work can go on."""
    index = Index()
    for row in database.rows("SELECT * FROM segments"):
        if None in row:  # the table does not allow it: pages are missing
            raise StorageError(f"{database.path} is damaged: a segment without a size: {row}")
        number, size, live, live_bytes = row
        index.segments[number] = SegmentState(size, live, live_bytes)
    _clean_segments(segments, index)
    outbox = database.row("SELECT max(id), max(last_id), sum(size) FROM outbox") or (0, 0, 0)
    stored: dict[str, int] = dict(
        database.rows("SELECT key, value FROM meta WHERE key IN ('seq', 'last_id')")
    )
    index.seq = max(outbox[0] or 0, stored.get("seq", 0))
    index.last_id = max(outbox[1] or 0, stored.get("last_id", 0))
    index.outbox_bytes = outbox[2] or 0
    counts = database.row("SELECT sum(waiting), sum(held) FROM queues") or (0, 0)
    index.waiting, index.held = counts[0] or 0, counts[1] or 0
    died = Fact.DIED if not options.hold_ambiguous else Fact.HOLD
    state = move(State.CLAIMED, died) or State.WAITING
    while _give_back(database, segments, index, state, now):
        pass
    index.last_id = fresh_start(index.last_id, lambda: now)
    database.run("INSERT OR REPLACE INTO meta VALUES ('last_id', ?)", (index.last_id,))
    return index


def _clean_segments(segments: Segments, index: Index) -> None:
    for number in segments.numbers():
        if number not in index.segments:
            segments.remove(number)  # made by a group that was never committed
    for number, known in index.segments.items():
        path = segments.path(number)
        found = path.stat().st_size if path.exists() else 0
        if found < known.size and known.live:
            log.error("%s is damaged: %d octets of %d are there", path, found, known.size)
    last = max(index.segments, default=0)
    if last:
        known = index.segments[last]
        path = segments.path(last)
        if path.exists() and path.stat().st_size >= known.size:
            segments.start(last, known.size)
        else:
            segments.start(last + 1, 0)


def _give_back(database: Database, segments: Segments, index: Index, state: State, now: int) -> int:
    rows = database.rows("SELECT id, message, body FROM claimed LIMIT ?", (_STEP,))
    if not rows:
        return 0
    group = Group(database, segments, index, now)
    database.begin()
    database.delete("claimed", [row[0] for row in rows])
    waiting = [replace(decode(row[2]), state=state, ambiguous=True) for row in rows]
    database.insert(INSERT_QUEUED, [group.queue(delivery) for delivery in waiting])
    group.finish()
    database.commit()
    group.apply()
    return len(rows)

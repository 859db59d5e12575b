"""What a stopped relay has kept: its spools and its ledger, read from their files.

Only for a relay that is not running: its databases have one writer, and this is not it.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from metrics.events import Kind
from metrics.fate import NUMBER

REPEATED = "SELECT count(*) - count(DISTINCT body) FROM events"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Figures by delivery; `anomalies` counts deliveries with more than one terminal event."""

    waiting: int  # deliveries in the spools
    unsent: int  # outbox rows that the ledger has not taken
    accepted: int
    delivered: int
    bounced: int
    failed: int
    open: int  # accepted, with no terminal event
    anomalies: int
    repeated: int  # facts that the ledger holds more than once

    @property
    def counts(self) -> dict[str, int]:
        """Give the figures that `checker.check_counts` wants."""
        return {
            "accepted": self.accepted,
            "delivered": self.delivered,
            "bounced": self.bounced + self.failed,
        }


def read_kept(data_dir: Path) -> Kept:
    """Read everything under the data directory of a stopped relay."""
    spools = read_spools(data_dir)
    with _open(data_dir / "ledger.sqlite") as ledger:
        final = dict(
            ledger.execute(
                "SELECT final, count(*) FROM deliveries WHERE accepted_at > 0 GROUP BY final"
            ).fetchall()
        )
        anomalies = _one(ledger, "SELECT count(*) FROM deliveries WHERE finals > 1")
        repeated = _one(ledger, REPEATED)
    return kept_of(spools, final, anomalies, repeated)


def kept_of(
    spools: tuple[int, int], final: Mapping[int, int], anomalies: int, repeated: int
) -> Kept:
    """Put together what `read_spools` gave and what a ledger says; `final` counts deliveries by
    the number of their last fact, 0 for none.
    """
    waiting, unsent = spools
    return Kept(
        waiting=waiting,
        unsent=unsent,
        accepted=sum(final.values()),
        delivered=final.get(NUMBER[Kind.DELIVERED], 0),
        bounced=final.get(NUMBER[Kind.BOUNCED], 0),
        failed=final.get(NUMBER[Kind.FAILED], 0),
        open=final.get(0, 0),
        anomalies=anomalies,
        repeated=repeated,
    )


def read_spools(data_dir: Path) -> tuple[int, int]:
    """Count the deliveries that wait in the spools, and the outbox rows."""
    waiting = unsent = 0
    for path in data_dir.glob("spool/*/spool.sqlite"):
        with _open(path) as spool:
            waiting += _one(spool, "SELECT (SELECT count(*) FROM queued) + count(*) FROM claimed")
            unsent += _one(spool, "SELECT count(*) FROM outbox")
    return waiting, unsent


def integrity(data_dir: Path) -> list[str]:
    """Ask SQLite whether each file is whole; gives what it says against one."""
    said = []
    for path in (*data_dir.glob("spool/*/spool.sqlite"), *data_dir.glob("ledger.sqlite")):
        with _open(path) as database:
            for (line,) in database.execute("PRAGMA integrity_check"):
                if line != "ok":
                    said.append(f"{path.name}: {line}")
    return said


@contextlib.contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path)
    try:
        yield connection
    finally:
        connection.close()


def _one(connection: sqlite3.Connection, statement: str) -> int:
    return int(connection.execute(statement).fetchone()[0])

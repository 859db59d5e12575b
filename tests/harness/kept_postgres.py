"""What a relay has kept whose ledger is PostgreSQL: its spools from their files, the rest by asking
the database.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import create_engine, text

from tests.harness.kept import REPEATED, Kept, kept_of, read_spools


def read_kept_postgres(data_dir: Path, url: str) -> Kept:
    """Read everything of a stopped relay."""
    spools = read_spools(data_dir)
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1))
    try:
        with engine.begin() as connection:
            rows = connection.execute(
                text("SELECT final, count(*) FROM deliveries WHERE accepted_at > 0 GROUP BY final")
            )
            final = {int(row[0]): int(row[1]) for row in rows}
            twice = connection.execute(text("SELECT count(*) FROM deliveries WHERE finals > 1"))
            anomalies = int(twice.scalar_one())
            repeated = int(connection.execute(text(REPEATED)).scalar_one())
    finally:
        engine.dispose()
    return kept_of(spools, final, anomalies, repeated)

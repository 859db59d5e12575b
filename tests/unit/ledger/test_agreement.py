"""What counts the same facts agrees, and where it does not it is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.bulk_ledger import Load, fill
from bench.large_ledger import UNTIL
from relay.ledger.agreement import disagreements
from relay.ledger.engine import open_ledger


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        ("UPDATE counters SET value = value + 1 WHERE name = 'events' AND label = 'opened'", 1),
        ("UPDATE days SET delivered = delivered + 1 WHERE mailing = 1", 2),
        ("UPDATE facets SET sent = sent - 1 WHERE facet = 'provider' AND mailing = 2", 1),
        ("DELETE FROM events WHERE kind = 9", 1),
    ],
)
async def test_whatever_is_changed_is_named(tmp_path: Path, spoil: str, named: int) -> None:
    async with open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        await fill(ledger, Load(400, UNTIL))
        assert await disagreements(ledger) == []
        await ledger.write(lambda connection: connection.exec_driver_sql(spoil))
        assert len(await disagreements(ledger)) >= named

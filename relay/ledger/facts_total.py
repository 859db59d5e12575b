"""First facts in total, for Prometheus: read from their table, never counted over events."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from metrics.prometheus import Facts
from relay.ledger import tables
from relay.ledger.engine import Ledger


async def facts_total(ledger: Ledger) -> Facts:
    """Give the counters; cost grows with sending domains, never with mails."""
    return await ledger.read(_read)


def _read(connection: Connection) -> Facts:
    c = tables.counters.c
    events: dict[tuple[str, str], int] = {}
    hits: dict[tuple[str, str], int] = {}
    reclassified: dict[str, int] = {}
    durations: dict[int, int] = {}
    for name, domain, label, value in connection.execute(
        select(c.name, c.sending_domain, c.label, c.value)
    ):
        if name == "events":
            events[domain, label] = value
        elif name == "hits":
            kind, _, nature = label.partition(" ")
            hits[kind, nature] = value
        elif name == "reclassified":
            reclassified[label] = value
        elif name == "took":
            durations[int(label)] = value
    shunted = connection.scalar(select(func.count()).select_from(tables.shunted)) or 0
    return Facts(events, hits, reclassified, durations, shunted)

"""Judges hits again by new rules, outside any fold: human numbers move, totals stay.

Deliveries are taken in order of their ids, some hundred per transaction, so that folding goes on in
between; whatever the rules say about a delivery's hits together is said again. First-fact counters
do not fall: what changed its nature is counted by `reclassified`.
"""

from __future__ import annotations

from functools import partial

from sqlalchemy import Connection, or_, select

from metrics.hits import Classifier
from metrics.sheet import Sheet
from relay.ledger import tables
from relay.ledger.delivery_fold import DeliveryFold, Known
from relay.ledger.engine import Ledger
from relay.ledger.mailings import Mailings
from relay.ledger.posting import post
from relay.ledger.recipient_keys import load_recipient_keys
from relay.ledger.rows import RowChanges, load_events, load_fates

_AT_ONCE = 500


async def reclassify(ledger: Ledger, classifier: Classifier, *, after: int = 0) -> int:
    """Judge the hits of all deliveries with an id above `after` again; gives how many were looked
    at."""
    looked_at = 0
    while True:
        ids = await ledger.write(partial(_some, classifier=classifier, after=after))
        if not ids:
            return looked_at
        looked_at += len(ids)
        after = ids[-1]


def _some(connection: Connection, classifier: Classifier, after: int) -> list[int]:
    d = tables.deliveries.c
    ids = list(
        connection.scalars(
            select(d.id)
            .where(d.id > after, d.mailing != 0, or_(d.opens > 0, d.clicks > 0))
            .order_by(d.id)
            .limit(_AT_ONCE)
        )
    )
    if not ids:
        return []
    fates, earlier = load_fates(connection, ids), load_events(connection, ids)
    mailings, sheet, changes = Mailings(), Sheet(), RowChanges()
    known = mailings.by_ids(connection, {fate.mailing for fate in fates.values()})
    keys = load_recipient_keys(connection)
    work = DeliveryFold(connection, sheet, changes, mailings, classifier, keys)
    for number, fate in fates.items():
        work.fold(Known(number, fate, known[fate.mailing], earlier.get(number, [])), [])
    work.finish()
    changes.write(connection)
    post(connection, sheet)
    return ids

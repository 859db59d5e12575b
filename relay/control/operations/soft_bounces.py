"""Addresses that bounce softly again and again: suppressed after so many days of it.

Guarantees: only bounces of one account count, on different days (UTC), within the window, and after
the last mail that the address did take; the entry names the bounce that made it. A bounce says
nothing by itself here: the ledger's rows are counted, so taking a fact twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, and_, func, or_, select

from metrics.events import Event, Kind
from metrics.fate import NUMBER
from relay.clock import DAY
from relay.control.changes import Change
from relay.control.operations.suppression_rows import Suppress, SuppressionKeys, put
from relay.control.operations.words import recipient_address
from relay.errors import InvalidError
from relay.ledger.tables import deliveries, mailings

SOFT = "soft"
_BOUNCED, _DELIVERED = NUMBER[Kind.BOUNCED], NUMBER[Kind.DELIVERED]
_MOST_ROWS = 1000  # deliveries to one address looked at, newest first


def is_soft_bounce(event: Event) -> bool:
    """Tell whether a fact can be one of those that count."""
    return event.kind is Kind.BOUNCED and event.category == SOFT and event.delivery != 0


class SoftBounces:
    """Suppresses what keeps bouncing softly."""

    def __init__(self, keys: SuppressionKeys, *, count: int, days: int) -> None:
        """Take how many days with a soft bounce suppress (0: never), within how many days."""
        self._keys = keys
        self._count = count
        self._window = days * DAY

    @property
    def counts(self) -> bool:
        """Tell whether soft bounces ever suppress."""
        return self._count > 0

    def take(self, change: Change, events: Iterable[Event]) -> int:
        """Look at the addresses of facts that were folded; give the number of new entries."""
        made = 0
        for event in {event.delivery: event for event in events}.values():
            wanted = self._wanted(change.connection, event)
            if wanted is not None and put(change, self._keys, wanted) is not None:
                made += 1
        return made

    def _wanted(self, connection: Connection, event: Event) -> Suppress | None:
        d = deliveries.c
        whose = connection.execute(
            select(mailings.c.account, d.recipient, d.recipient_key)
            .join(mailings, mailings.c.id == d.mailing)
            .where(d.id == event.delivery, d.recipient != "", d.recipient_key != 0)
        ).one_or_none()
        if whose is None:
            return None
        days = self._days(connection, whose.account, whose.recipient_key, event.at)
        if len(days) < self._count:
            return None
        try:
            recipient = recipient_address(whose.recipient)
        except InvalidError:
            return None
        return Suppress(
            account=whose.account,
            scope="account",
            within="",
            recipient=recipient,
            reason="soft-bounces",
            note=f"soft bounces on {len(days)} days",
            event_at=event.at,
            event_kind=event.kind.value,
            event_delivery=event.delivery,
        )

    def _days(self, connection: Connection, account: int, key: int, upto: int) -> set[int]:
        """Give the days with a soft bounce since the address last took a mail."""
        d = deliveries.c
        since = upto - self._window
        theirs = and_(d.recipient_key == key, mailings.c.account == account)
        joined = deliveries.join(mailings, mailings.c.id == d.mailing)
        took = connection.scalar(
            select(func.max(d.final_at))
            .select_from(joined)
            .where(theirs, d.final == _DELIVERED, d.later_category.not_in(("soft", "hard")))
        )
        since = max(since, took or 0)
        soft = or_(
            and_(d.final == _BOUNCED, d.category == SOFT, d.final_at > since),
            and_(d.later_category == SOFT, d.later_at > since),
        )
        rows = connection.execute(
            select(d.final, d.final_at, d.later_at)
            .select_from(joined)
            .where(theirs, soft)
            .order_by(d.id.desc())
            .limit(_MOST_ROWS)
        )
        return {(row.later_at if row.final == _DELIVERED else row.final_at) // DAY for row in rows}

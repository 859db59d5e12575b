"""Whose delivery a report is about, where it carries nothing signed: by the copy's Message-ID.

Guarantees: one delivery or none, never a guess: a message to many is found only together with the
recipient the report names, and only among the mail of the account whose mailbox the report came to.
Everybody who got a mail knows its Message-ID, so a fact linked this way suppresses nobody; it only
counts. Workers have no ledger: what reaches their feedback mailbox unlinked is linked in the fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace
from sqlalchemy import Connection, select

from metrics.events import Kind, encode
from relay.ledger.intake import Fact
from relay.ledger.tables import deliveries, mailings

RETURNED = frozenset({Kind.BOUNCED, Kind.COMPLAINED, Kind.UNSUBSCRIBED, Kind.AUTOREPLIED})
_MOST = 1000  # deliveries of one message that are looked at


class Owner(NamedTuple):
    """A delivery and the account it belongs to."""

    delivery: int
    account: int


def find_delivery(
    connection: Connection, message_id: str, recipient: str, *, account: int = 0
) -> Owner | None:
    """Find the delivery of a Message-ID (with or without brackets).

    Without a recipient only where the message had a single one; `account` 0 is any account.
    """
    bare = message_id.strip("<>")
    if not bare:
        return None
    wanted = (
        select(deliveries.c.id, mailings.c.account, deliveries.c.recipient)
        .join(mailings, mailings.c.id == deliveries.c.mailing)
        .where(deliveries.c.message_id.in_((bare, f"<{bare}>")))
        .limit(_MOST)
    )
    rows = connection.execute(wanted).all()
    if recipient:
        rows = [row for row in rows if row.recipient.lower() == recipient.lower()]
    if len(rows) != 1 or account not in (0, rows[0].account):
        return None
    return Owner(rows[0].id, rows[0].account)


def link_unowned(connection: Connection, facts: Sequence[Fact]) -> list[Fact]:
    """Give the facts with those of returned mail linked that name a delivery only by Message-ID."""
    return [_linked(connection, fact) if _may_be_linked(fact) else fact for fact in facts]


def _may_be_linked(fact: Fact) -> bool:
    event = fact.event
    return not event.delivery and event.kind in RETURNED and bool(event.message_id)


def _linked(connection: Connection, fact: Fact) -> Fact:
    event = fact.event
    for recipient in dict.fromkeys((event.recipient, "")):
        found = find_delivery(connection, event.message_id, recipient, account=event.account)
        if found is not None:
            # what people search by stands in the delivery's row; the scope stays empty
            event = replace(
                event,
                delivery=found.delivery,
                account=found.account,
                recipient="",
                message_id="",
                subject="",
                scope="",
            )
            return Fact(event, encode(event))
    return fact

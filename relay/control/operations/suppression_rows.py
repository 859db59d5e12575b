"""Rows of the suppression table: how an address becomes a key, how an entry is put and shown.

Guarantees: the key of an address stays the same when the key ring rotates (it is made with the
ring's first secret), so that an erased address, of which only the key is left, stays suppressed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, insert, select, update

from relay.control.changes import Change
from relay.control.moments import shown, shown_or_none
from relay.control.operations.words import Entry
from relay.ids import to_text
from relay.ledger.settings_tables import suppressions
from relay.mail.keyring import KeyRing
from relay.mail.mac import mac
from relay.notices import Notice
from relay.suppressions import (
    NO_TRACKING,
    entry_in_account,
    entry_in_campaign,
    entry_in_domain,
    entry_untracked,
)
from tracking.tokens import campaign_hash

_LABEL = "suppression"  # as in relay.suppressions: the first 64 bits are the number used there
_CHUNK = 5000


class MadeBy(Entry, frozen=True):
    """The event that made a suppression."""

    at: datetime
    kind: str
    delivery: str  # its id, as the message log writes it


class SuppressionEntry(Entry, frozen=True):
    """A suppression as it is shown."""

    id: int
    account: int
    scope: str  # account, domain, campaign; tracking: mail goes on, untracked
    within: str  # the domain's or the campaign's name
    recipient: str  # "" once the address was erased
    reason: str
    note: str
    event: MadeBy | None
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppress:
    """An entry to be put; regular already, times in microseconds since the epoch."""

    account: int
    scope: str
    within: str
    recipient: str
    reason: str
    note: str = ""
    event_at: int = 0
    event_kind: str = ""
    event_delivery: int = 0
    expires_at: int = 0


class SuppressionKeys:
    """Turns addresses into keys."""

    def __init__(self, ring: KeyRing) -> None:
        """Take the ring; its first secret makes the keys, for ever."""
        first = min(ring.ids)
        key = ring.key(first, _LABEL)
        if key is None:
            raise ValueError(f"the key ring has no key {first}")
        self._key = key

    def of(self, recipient: str) -> str:
        """Give the key of an address in its regular form, as 32 hexadecimal digits."""
        return mac(self._key, recipient.encode("utf-8")).hex()


class Standing(NamedTuple):
    """What workers need of an entry that is in force."""

    id: int
    account: int
    scope: str
    within: str
    recipient: str
    recipient_key: str
    reason: str


def put(change: Change, keys: SuppressionKeys, wanted: Suppress) -> int | None:
    """Put an entry; give its id, or None if the address is in that scope already.

    An entry that expires gives way to one that lasts longer.
    """
    key = keys.of(wanted.recipient)
    columns = suppressions.c
    found = change.connection.execute(
        select(columns.id, columns.expires_at).where(
            columns.account == wanted.account,
            columns.recipient_key == key,
            columns.scope == wanted.scope,
            columns.within == wanted.within,
        )
    ).one_or_none()
    values = {name: getattr(wanted, name) for name in Suppress.__slots__}
    values |= {"recipient_key": key, "created_at": change.at}
    if found is None:
        made = change.connection.execute(insert(suppressions).values(values).returning(columns.id))
        change.notices.append(_notice(wanted, key, change.at))
        return int(made.scalar_one())
    lasts_longer = found.expires_at and (
        not wanted.expires_at or wanted.expires_at > found.expires_at
    )
    if not lasts_longer:
        return None
    change.connection.execute(update(suppressions).where(columns.id == found.id).values(values))
    change.notices.append(_notice(wanted, key, change.at))
    return int(found.id)


def _notice(wanted: Suppress, key: str, at: int) -> Notice:
    entry = table_entry(wanted.account, wanted.scope, wanted.within, key)
    return Notice(entry, table_reason(wanted.scope, wanted.reason), at)


def notice_of(row: Row[Any], reason: str, at: int) -> Notice:
    """Give what other processes are told of a row: why it is in force now, "" if it is no more."""
    entry = table_entry(row.account, row.scope, row.within, row.recipient_key)
    return Notice(entry, table_reason(row.scope, reason), at)


def table_reason(scope: str, reason: str) -> str:
    """Give the reason as workers know it: in the scope "tracking" mail goes on untracked, whoever
    asked for it; "" (no more in force) stays.
    """
    return NO_TRACKING if reason and scope == "tracking" else reason


def table_entry(account: int, scope: str, within: str, recipient_key: str) -> int:
    """Give the number under which workers know an entry; works for erased addresses too."""
    recipient = int.from_bytes(bytes.fromhex(recipient_key)[:8], "little")
    if scope == "account":
        return entry_in_account(account, recipient)
    if scope == "domain":
        return entry_in_domain(account, within, recipient)
    if scope == "tracking":
        return entry_untracked(account, recipient)
    return entry_in_campaign(campaign_hash(account, within), recipient)


def in_force(connection: Connection, at: int) -> Iterator[Standing]:
    """Go through the entries in force at a moment, by id, a bounded number in memory."""
    columns = suppressions.c
    wanted = select(*(columns[name] for name in Standing._fields)).order_by(columns.id)
    wanted = wanted.where((columns.expires_at == 0) | (columns.expires_at > at)).limit(_CHUNK)
    last = 0
    while rows := connection.execute(wanted.where(columns.id > last)).all():
        yield from (Standing(*row) for row in rows)
        last = rows[-1].id


def entry_of(row: Row[Any]) -> SuppressionEntry:
    """Give a row as it is shown."""
    made_by = None
    if row.event_kind:
        made_by = MadeBy(
            at=shown(row.event_at), kind=row.event_kind, delivery=to_text(row.event_delivery)
        )
    return SuppressionEntry(
        id=row.id,
        account=row.account,
        scope=row.scope,
        within=row.within,
        recipient=row.recipient,
        reason=row.reason,
        note=row.note,
        event=made_by,
        created_at=shown(row.created_at),
        expires_at=shown_or_none(row.expires_at),
    )

"""Erases a recipient everywhere the facts hold one: rows, events, conversations. Rollups stay.

What is left of a delivery is its numbers: the address, the sender's and the remote's words about
it, the subject and the transcript go; the keyed hash is replaced by a random number, the same for
all of the person's deliveries, so that distinct counts stay what they were. Suppressions are kept
(a list of who must not get mail is what keeps the promise) and belong to the settings.
"""

from __future__ import annotations

import secrets
from functools import partial

from msgspec.structs import replace
from sqlalchemy import Connection, delete, select

from metrics.events import decode, encode
from relay.ledger import tables
from relay.ledger.engine import Ledger
from relay.ledger.recipient_keys import load_recipient_keys
from relay.ledger.statements import prepared, run_many

_AT_ONCE = 500
_BODY = "UPDATE events SET body = ? WHERE id = ?"
_NO_RECIPIENT: dict[str, str] = {
    "recipient": "",
    "reply": "",
    "subject": "",
    "sender": "",
    "transcript": "",
}


async def erase_recipient(ledger: Ledger, recipient: str) -> int:
    """Erase an address; gives the number of its deliveries. Doing it again finds none."""
    stand_in = secrets.randbits(62) + 1
    erased = 0
    while some := await ledger.write(partial(_erase, recipient=recipient, stand_in=stand_in)):
        erased += some
    return erased


def _erase(connection: Connection, recipient: str, stand_in: int) -> int:
    d, e, s = tables.deliveries.c, tables.events.c, tables.sightings.c
    key = load_recipient_keys(connection).of(recipient)
    ids = list(connection.scalars(select(d.id).where(d.recipient_key == key).limit(_AT_ONCE)))
    if not ids:
        return _erase_unowned(connection, recipient)
    connection.execute(
        tables.deliveries.update()
        .where(d.id.in_(ids))
        .values(recipient="", sender="", subject="", recipient_key=stand_in)
    )
    connection.execute(
        tables.sightings.update().where(s.recipient_key == key).values(recipient_key=stand_in)
    )
    rows = connection.execute(select(e.id, e.body).where(e.delivery.in_(ids))).fetchall()
    run_many(connection, prepared(connection, _BODY), [(_without(bytes(b)), n) for n, b in rows])
    return len(ids)


def _erase_unowned(connection: Connection, recipient: str) -> int:
    """Drop the recipient from refusals and other events that have no delivery, and what was
    shunted."""
    e, x = tables.events.c, tables.shunted.c
    rows = connection.execute(select(e.id, e.body).where(e.delivery == 0)).fetchall()
    theirs = [
        (_without(bytes(body)), number)
        for number, body in rows
        if decode(bytes(body)).recipient.lower() == recipient.lower()
    ]
    run_many(connection, _BODY, theirs)
    needle = recipient.lower().encode("utf-8", "surrogatepass")
    shunted = connection.execute(select(x.id, x.body)).fetchall()
    found = [number for number, body in shunted if needle in bytes(body).lower()]
    connection.execute(delete(tables.shunted).where(x.id.in_(found)))
    return 0


def _without(body: bytes) -> bytes:
    event = decode(body)
    hit = replace(event.hit, address="") if event.hit else None
    return encode(replace(event, hit=hit, metadata={}, **_NO_RECIPIENT))

"""How far back the ledger still has events: what upkeep pruned, and what the sum check can
recompute."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, select

from relay.ledger.tables import parameters

_NAME = "horizon"


class Horizon(NamedTuple):
    """`pruned_upto`: the highest delivery id whose row may be gone; `checkable_from`: start
    (seconds, a UTC midnight) of the first cells that rows, events and `carried` together still
    explain."""

    pruned_upto: int = 0
    checkable_from: int = 0


def load_horizon(connection: Connection) -> Horizon:
    """Read the horizon; everything is there in a ledger that was never pruned."""
    value = connection.scalar(select(parameters.c.value).where(parameters.c.name == _NAME))
    if value is None:
        return Horizon()
    upto, since = bytes(value).decode().split(" ")
    return Horizon(int(upto), int(since))


def store_horizon(connection: Connection, horizon: Horizon) -> None:
    """Write the horizon."""
    value = f"{horizon.pruned_upto} {horizon.checkable_from}".encode()
    changed = connection.execute(
        parameters.update().where(parameters.c.name == _NAME).values(value=value)
    )
    if not changed.rowcount:
        connection.execute(parameters.insert().values(name=_NAME, value=value))

"""How much an account may hand in: messages in any one hour, counted by all workers together.

Guarantees: only accepted messages count; what is over the limit is put off (450), never refused for
good. The hour runs from the first message counted in it; workers that accept at the same moment may
overshoot by one message each (the shared table's bound).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from relay.errors import RefusedError
from relay.settings import Account

_HOUR = 3600.0


class Tally(Protocol):
    """Counts over all workers; `relay.shared_table.SharedTable` fits."""

    def add(self, key: bytes, amount: int = 1, *, lifetime: float = 0.0) -> None:
        """Add; the count is forgotten `lifetime` seconds after its first addition."""
        ...

    def sum(self, key: bytes) -> int:
        """Give the number over all workers."""
        ...


@dataclass(frozen=True, slots=True)
class Allowance:
    """Counts accepted messages by account; without a tally nothing is limited."""

    tally: Tally | None = None

    def demand(self, account: Account) -> None:
        """Raise RefusedError when the account has used up its hour."""
        limit = account.messages_per_hour
        if limit and self.tally is not None and self.tally.sum(_key(account)) >= limit:
            raise RefusedError(
                450, "4.7.1", f"this account may send {limit} messages per hour; try again later"
            )

    def use(self, account: Account) -> None:
        """Count one message."""
        if account.messages_per_hour and self.tally is not None:
            self.tally.add(_key(account), lifetime=_HOUR)


def _key(account: Account) -> bytes:
    return b"sent-by%d" % account.id

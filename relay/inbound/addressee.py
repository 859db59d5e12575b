"""Which of the recipients that a report names is the delivery's own.

A worker knows of a delivery only the keyed hash of its recipient; a report names addresses.
Guarantees: the address given hashes to the delivery's recipient, or is NOBODY where none of those
named does, or "" where this node does not know the delivery.
"""

from __future__ import annotations

from typing import Protocol

from bounces.report import Report
from relay.ids import spool_of

NOBODY = "nobody of these"  # no address, so that it equals none


class Index(Protocol):
    """Who a delivery went to."""

    def find(self, delivery: int, spool: int) -> int | None:
        """Give the recipient's hash, None where it is not known."""
        ...


class Hash(Protocol):
    """Turns an address into its hash."""

    def of(self, recipient: str) -> int:
        """Give the hash."""
        ...


class Addressee:
    """Finds the recipient among those a report names."""

    def __init__(self, index: Index, recipient_hash: Hash) -> None:
        """Take what this node knows of its deliveries."""
        self._index = index
        self._hash = recipient_hash

    def of(self, delivery: int, report: Report) -> str:
        """Give the address as the report writes it, NOBODY, or ""."""
        known = self._index.find(delivery, spool_of(delivery))
        if known is None:
            return ""
        named = {
            address
            for record in report.records
            for address in (record.recipient, record.original_recipient)
            if address
        }
        return next((one for one in sorted(named) if self._hash.of(one) == known), NOBODY)

"""Recipients as 64-bit keyed hashes: what distinct counting and search use instead of addresses.

The key is random, made with the ledger and kept in it: hashes of two ledgers have nothing in
common, and without the ledger they say nothing. Addresses are compared in lower case, as every
large provider does.
"""

from __future__ import annotations

import secrets
from hashlib import blake2b

from sqlalchemy import Connection, select

from relay.ledger.tables import parameters

_NAME = "recipient_key"


class RecipientKeys:
    """Hashes addresses under one ledger's key."""

    def __init__(self, key: bytes) -> None:
        """Take the ledger's key."""
        self._key = key

    def of(self, address: str) -> int:
        """Give an address's number, 1 to 2**63 - 1; 0 for no address."""
        if not address:
            return 0
        data = address.lower().encode("utf-8", "surrogatepass")
        digest = blake2b(data, digest_size=8, key=self._key).digest()
        return (int.from_bytes(digest, "big") >> 1) or 1


def load_recipient_keys(connection: Connection) -> RecipientKeys:
    """Read the ledger's key; in a writing transaction it is made where it is missing."""
    known = connection.scalar(select(parameters.c.value).where(parameters.c.name == _NAME))
    if known is None:
        known = secrets.token_bytes(32)
        connection.execute(parameters.insert().values(name=_NAME, value=known))
    return RecipientKeys(bytes(known))

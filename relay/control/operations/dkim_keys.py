"""DKIM keys of a sending domain: made here, sealed under the key ring, never shown again.

Guarantees: a private key leaves this file only sealed (label "dkim", bound to domain and selector);
answers carry the selector, the algorithm and the public record. Making an RSA key takes a tenth of
a second of CPU, so it happens in a thread and before the transaction begins.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from sqlalchemy import Row, insert

from relay.control.changes import Change
from relay.control.moments import shown
from relay.control.operations.words import Entry
from relay.ledger.settings_tables import dkim_keys
from relay.mail.keyring import KeyRing
from relay.sealing import DKIM, dkim_context, seal

_RSA_BITS = 2048  # RFC 8301: 1024 at least; 4096 does not fit one DNS string and UDP well


class DkimKeyEntry(Entry, frozen=True):
    """A signing key as it is shown."""

    selector: str
    algorithm: str
    active: bool
    record: str  # the TXT value to publish
    created_at: datetime


class FreshKey(Entry, frozen=True):
    """A key that was made and is not stored yet."""

    selector: str
    algorithm: str
    record: str
    sealed: bytes


def new_rsa_key() -> rsa.RSAPrivateKey:
    """Make an RSA key; takes about a tenth of a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)


class KeyMaker:
    """Makes signing keys and seals them."""

    def __init__(
        self, ring: KeyRing, rsa_key: Callable[[], rsa.RSAPrivateKey] = new_rsa_key
    ) -> None:
        """Take the ring that seals, and where RSA keys come from."""
        self._ring = ring
        self._rsa_key = rsa_key

    async def pair(self, domain: str, at: int) -> tuple[FreshKey, FreshKey]:
        """Make an RSA and an Ed25519 key (RFC 8463: both sign); selectors name the day."""
        day = datetime.fromtimestamp(at / 1_000_000, UTC).strftime("%Y%m%d")
        stem = f"wp{day}{secrets.token_hex(3)}"
        return await asyncio.to_thread(self._pair, domain, stem)

    def _pair(self, domain: str, stem: str) -> tuple[FreshKey, FreshKey]:
        first = self._rsa_key()
        published = first.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        second = ed25519.Ed25519PrivateKey.generate()
        return (
            self._sealed(domain, stem + "r", "rsa", first, published),
            self._sealed(
                domain, stem + "e", "ed25519", second, second.public_key().public_bytes_raw()
            ),
        )

    def _sealed(
        self,
        domain: str,
        selector: str,
        algorithm: str,
        private: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey,
        published: bytes,
    ) -> FreshKey:
        secret = private.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return FreshKey(
            selector=selector,
            algorithm=algorithm,
            record=f"v=DKIM1; k={algorithm}; p={base64.b64encode(published).decode()}",
            sealed=seal(self._ring, DKIM, dkim_context(domain, selector), secret),
        )


def store_key(change: Change, domain: int, key: FreshKey, *, active: bool = True) -> None:
    """Keep a fresh key of a domain, in use or not yet."""
    change.connection.execute(
        insert(dkim_keys).values(
            domain=domain,
            selector=key.selector,
            algorithm=key.algorithm,
            record=key.record,
            sealed=key.sealed,
            active=active,
            created_at=change.at,
        )
    )


def key_entry(row: Row[Any]) -> DkimKeyEntry:
    """Give a row of `dkim_keys` as it is shown."""
    return DkimKeyEntry(
        selector=row.selector,
        algorithm=row.algorithm,
        active=row.active,
        record=row.record,
        created_at=shown(row.created_at),
    )

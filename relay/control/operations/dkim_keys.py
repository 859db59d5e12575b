"""DKIM keys of a sending domain: made here, sealed under the key ring, never shown again.

Guarantees: a private key leaves this file only sealed (label "dkim", bound to domain and selector);
answers carry the selector, the algorithm and the public record. Making an RSA key takes a tenth of
a second of CPU, so it happens in a thread and before the transaction begins.
"""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from sqlalchemy import Row

from relay.control.moments import shown
from relay.control.operations.words import Entry
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


async def make_pair(ring: KeyRing, domain: str, at: int) -> tuple[FreshKey, FreshKey]:
    """Make an RSA and an Ed25519 key (RFC 8463: both sign) with selectors named after the time."""
    stamp = datetime.fromtimestamp(at / 1_000_000, UTC).strftime("%Y%m%d%H%M%S")
    return (
        await asyncio.to_thread(_make, ring, domain, f"wp{stamp}r", "rsa"),
        await asyncio.to_thread(_make, ring, domain, f"wp{stamp}e", "ed25519"),
    )


def _make(ring: KeyRing, domain: str, selector: str, algorithm: str) -> FreshKey:
    private: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
    if algorithm == "rsa":
        private = rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
        public = private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    else:
        private = ed25519.Ed25519PrivateKey.generate()
        public = private.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )
    secret = private.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return FreshKey(
        selector=selector,
        algorithm=algorithm,
        record=f"v=DKIM1; k={algorithm}; p={base64.b64encode(public).decode()}",
        sealed=seal(ring, DKIM, dkim_context(domain, selector), secret),
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

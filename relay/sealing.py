"""Secrets at rest: sealed with AES-256-GCM under a key of the key ring, bound to what they are for.

Guarantees: what `unseal` gives is what `seal` took, for the same label and context, or SealError.
A sealed value names the ring's key, so that it can be read after a rotation. The ledger and the
settings snapshot hold sealed values only; the ring is one file, backed up apart (DESIGN section 4).
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.errors import WaypostError
from relay.mail.keyring import KeyRing
from relay.settings import DkimKey

DKIM = "dkim"  # the label of signing keys
_VERSION = b"\x01"
_KEY_ID = 2
_NONCE = 12
_HEAD = len(_VERSION) + _KEY_ID + _NONCE


class SealError(WaypostError, ValueError):
    """A sealed value that this key ring cannot open: another ring, another purpose, or damaged."""


def seal(ring: KeyRing, label: str, context: str, secret: bytes) -> bytes:
    """Seal a secret for one purpose (`label`, as "dkim") and one place (`context`)."""
    key_id = ring.current
    nonce = os.urandom(_NONCE)
    head = _VERSION + key_id.to_bytes(_KEY_ID, "big") + nonce
    return head + AESGCM(_key(ring, key_id, label)).encrypt(nonce, secret, context.encode())


def unseal(ring: KeyRing, label: str, context: str, sealed: bytes) -> bytes:
    """Open what `seal` made; raises SealError."""
    if len(sealed) <= _HEAD or sealed[:1] != _VERSION:
        raise SealError(f"{context}: not a sealed value")
    key_id = int.from_bytes(sealed[1 : 1 + _KEY_ID], "big")
    nonce = sealed[1 + _KEY_ID : _HEAD]
    key = _key(ring, key_id, label)
    try:
        return AESGCM(key).decrypt(nonce, sealed[_HEAD:], context.encode())
    except InvalidTag:
        raise SealError(f"{context}: sealed for something else, or damaged") from None


def unseal_dkim(ring: KeyRing, domain: str, key: DkimKey) -> bytes:
    """Open a signing key of a sending domain (PKCS#8 DER); raises SealError."""
    return unseal(ring, DKIM, dkim_context(domain, key.selector), key.sealed)


def dkim_context(domain: str, selector: str) -> str:
    """Give what a sealed signing key is bound to: the name of its DNS record."""
    return f"{selector}._domainkey.{domain}"


def _key(ring: KeyRing, key_id: int, label: str) -> bytes:
    key = ring.key(key_id, label)
    if key is None:
        raise SealError(f"the key ring has no key {key_id}; is it the ring of this ledger?")
    return key

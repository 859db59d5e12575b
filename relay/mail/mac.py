"""Keyed digests: deriving keys, signing, comparing in constant time.

Guarantees: HKDF-SHA-256 (RFC 5869) for keys, HMAC-SHA-256 (RFC 2104) truncated to the asked
size for signatures, and comparison that takes the same time for every wrong answer.
Leaves to others: which secret is in force (`keyring.py`) and what a message means.
"""

import hmac

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

MIN_SECRET = 16
MIN_SIZE = 8


def derive(secret: bytes, label: str, size: int = 32) -> bytes:
    """Derive a key of `size` bytes (at most 8,160) for one purpose from a secret.

    Labels keep purposes apart: keys of different labels say nothing about each other (RFC 5869
    section 3.2). Raises ValueError for a secret shorter than 16 bytes or an impossible size.
    """
    if len(secret) < MIN_SECRET:
        raise ValueError(f"a secret needs {MIN_SECRET} bytes or more, this one has {len(secret)}")
    if not 1 <= size <= 255 * 32:
        raise ValueError(f"a derived key has 1 to 8160 bytes, not {size}")
    pseudo_random = hmac.digest(b"\0" * 32, secret, "sha256")
    info = label.encode()
    okm = b""
    block = b""
    for counter in range(1, -(-size // 32) + 1):
        block = hmac.digest(pseudo_random, block + info + bytes([counter]), "sha256")
        okm += block
    return okm[:size]


def mac(key: bytes, message: bytes, size: int = 16) -> bytes:
    """Sign a message: the first `size` bytes (8 to 32) of its HMAC-SHA-256."""
    if not MIN_SIZE <= size <= 32:
        raise ValueError(f"a signature has {MIN_SIZE} to 32 bytes, not {size}")
    return hmac.digest(key, message, "sha256")[:size]


def verify(key: bytes, message: bytes, signature: bytes) -> bool:
    """Say whether this is the message's signature, in the same time wherever it errs."""
    if not MIN_SIZE <= len(signature) <= 32:
        return False
    return hmac.compare_digest(mac(key, message, len(signature)), signature)


class Signer:
    """HMAC-SHA-256 with the key's work done once, for many short messages under one key.

    `Signer(key)(message, size)` equals `mac(key, message, size)` and costs a third of it.
    """

    __slots__ = ("_keyed",)

    def __init__(self, key: bytes) -> None:
        self._keyed = HMAC(key, SHA256())

    def __call__(self, message: bytes, size: int = 16) -> bytes:
        """Give the first `size` bytes of the message's HMAC."""
        keyed = self._keyed.copy()  # one object of OpenSSL's with both halves of the key's work
        keyed.update(message)
        return keyed.finalize()[:size]

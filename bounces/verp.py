"""Signed return paths: the address that tells which delivery a mail came back from.

Guarantees: a return path made here is at most 64 octets before the `@`, lower case, and survives a
mail system that changes its case; one that was not made with our keys, for this kind and this
domain, raises `ForgedAddressError` before any of its content is believed. No recipient address and
no hash of one inside. Leaves to others: whether the delivery exists, and what a report means.

Local part: kind letter, `+`, and 40 characters of base32 (RFC 4648, lower case, no padding) over
25 bytes: key id (2), delivery (8), account (4), MAC (11). 25 bytes are exactly 40 characters, so no
two spellings decode alike except by case.
"""

from __future__ import annotations

import base64
import enum
import struct
from dataclasses import dataclass
from functools import lru_cache

from relay.mail import base32
from relay.mail.keyring import KeyRing
from relay.mail.mac import Signer, verify

LABEL = "waypost return path 1"  # derives the signing key; another label, another purpose

_IDS = struct.Struct(">HQI")
_MAC_SIZE = 11
_TEXT_SIZE = (_IDS.size + _MAC_SIZE) * 8 // 5


class ReturnKind(enum.StrEnum):
    """What an address is for; a signature made for one kind is worthless for another."""

    BOUNCE = "b"
    UNSUBSCRIBE = "u"
    FEEDBACK = "f"


class ForgedAddressError(ValueError):
    """The address is no return path of ours: refuse it at RCPT with 550 5.1.1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnAddress:
    """A verified return path: its kind, and the ids it was minted for."""

    kind: ReturnKind
    delivery: int
    account: int


_signer = lru_cache(maxsize=64)(Signer)


def _signed(kind: ReturnKind, ids: bytes, domain: bytes) -> bytes:
    return b"%s\0%s\0%s" % (kind.encode(), ids, domain)


def mint(
    delivery: int,
    account: int,
    domain: str,
    keyring: KeyRing,
    *,
    kind: ReturnKind = ReturnKind.BOUNCE,
) -> bytes:
    """Make the whole address `kind+token@domain` for a delivery.

    `delivery` is an unsigned 64-bit id, `account` an unsigned 32-bit id; `struct.error` if not.
    `domain` is the ASCII (A-label) return-path domain; it is signed and written in lower case.
    """
    key_id = keyring.current
    key = keyring.key(key_id, LABEL)
    if key is None:
        raise KeyError(key_id)  # a ring always holds its current key
    at = domain.lower().encode("ascii")
    ids = _IDS.pack(key_id, delivery, account)
    token = base32.encode(ids + _signer(key)(_signed(kind, ids, at), _MAC_SIZE))
    return b"%s+%s@%s" % (kind.encode(), token, at)


def read(address: bytes, keyring: KeyRing) -> ReturnAddress:
    """Verify a return path (`local@domain`, no angle brackets) and give what it was minted for.

    Raises `ForgedAddressError` for anything that is not one of ours, in any case of letters.
    """
    local, at, domain = address.lower().rpartition(b"@")
    kind_name, plus, token = local.partition(b"+")
    if not (at and plus) or len(token) != _TEXT_SIZE:
        raise ForgedAddressError(
            "not a return path: expected kind, '+', 40 characters, '@', domain"
        )
    try:
        kind = ReturnKind(kind_name.decode("ascii"))
        raw = base64.b32decode(token.upper())
    except ValueError:
        raise ForgedAddressError("not a return path: unknown kind or not base32") from None
    ids, signature = raw[: _IDS.size], raw[_IDS.size :]
    key_id, delivery, account = _IDS.unpack(ids)
    key = keyring.key(key_id, LABEL)
    if key is None or not verify(key, _signed(kind, ids, domain), signature):
        raise ForgedAddressError("the signature of the return path is not ours")
    return ReturnAddress(kind=kind, delivery=delivery, account=account)

"""Codes for changes that need to be asked for twice.

Guarantees: a code fits one change, as asked, by one caller, at one settings version, for a quarter
of an hour. As the version moves with every change that is made, a code cannot be used twice, nor
after somebody else changed something. Nothing is stored: the code is signed with the key ring.
"""

from __future__ import annotations

import base64
import binascii

from relay.clock import MINUTE, SECOND
from relay.errors import ConflictError
from relay.mail.keyring import KeyRing
from relay.mail.mac import mac, verify

LIFETIME = 15 * MINUTE
_LABEL = "confirm"
_MAC_OCTETS = 10
_TIME_OCTETS = 5


class Confirmations:
    """Gives and checks codes."""

    def __init__(self, ring: KeyRing) -> None:
        """Take the ring whose present key signs."""
        self._ring = ring

    def code(self, change: bytes, caller: str, version: int, at: int) -> str:
        """Give the code for a change at this moment (microseconds since the epoch)."""
        until = ((at + LIFETIME) // SECOND).to_bytes(_TIME_OCTETS, "big")
        signed = mac(self._key(), _said(change, caller, version, until), _MAC_OCTETS)
        return base64.b32encode(until + signed).decode("ascii").lower()

    def check(self, code: str, change: bytes, caller: str, version: int, at: int) -> None:
        """Raise ConflictError unless this is a code for exactly this, and still in time."""
        try:
            raw = base64.b32decode(code.upper())
        except (binascii.Error, ValueError):
            raw = b""
        until, signed = raw[:_TIME_OCTETS], raw[_TIME_OCTETS:]
        fits = len(signed) == _MAC_OCTETS and verify(
            self._key(), _said(change, caller, version, until), signed
        )
        if not fits:
            raise ConflictError(
                "the confirmation is not for this change as things stand now; "
                "ask again without it to see what would happen",
                field="confirm",
            )
        if int.from_bytes(until, "big") * SECOND < at:
            raise ConflictError("the confirmation is too old; ask again", field="confirm")

    def _key(self) -> bytes:
        key = self._ring.key(self._ring.current, _LABEL)
        if key is None:
            raise ConflictError("the key ring has no current key")
        return key


def _said(change: bytes, caller: str, version: int, until: bytes) -> bytes:
    parts = (change, caller.encode(), str(version).encode(), until)
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)

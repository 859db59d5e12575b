"""Where a session with a next hop stands.

HELLO -> (HANDSHAKE -> HELLO) -> READY -> ENDED; every phase may end.
"""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    """Where a session stands."""

    HELLO = "hello"  # greeting, EHLO, STARTTLS, AUTH: one command at a time
    HANDSHAKE = "handshake"  # the transport must do TLS now, then call `secured`
    READY = "ready"
    ENDED = "ended"

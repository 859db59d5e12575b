"""What is sealed opens with its ring, for its purpose, in its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from relay.mail.keyring import KeyRing
from relay.sealing import SealError, seal, unseal

RING = KeyRing.of(b"k" * 32)


@given(some.binary(max_size=100), some.text(max_size=20))
def test_what_was_sealed_opens(secret: bytes, context: str) -> None:
    """The same bytes; sealing twice gives different ones."""
    sealed = seal(RING, "dkim", context, secret)
    assert unseal(RING, "dkim", context, sealed) == secret
    assert seal(RING, "dkim", context, secret) != sealed


def test_a_rotated_ring_still_opens() -> None:
    """The sealed value names its key."""
    old = seal(RING, "dkim", "a", b"secret")
    grown = KeyRing({1: b"k" * 32, 2: b"n" * 32})
    assert unseal(grown, "dkim", "a", old) == b"secret"
    assert seal(grown, "dkim", "a", b"secret")[1:3] == b"\x00\x02"


def test_nothing_else_opens_it() -> None:
    """Another ring, purpose, place, a flipped bit, a cut: SealError, which is a ValueError."""
    sealed = seal(RING, "dkim", "a", b"secret")
    tries = [
        (KeyRing.of(b"x" * 32), "dkim", "a", sealed),
        (KeyRing({2: b"k" * 32}), "dkim", "a", sealed),
        (RING, "other", "a", sealed),
        (RING, "dkim", "b", sealed),
        *((RING, "dkim", "a", sealed[:length]) for length in range(len(sealed))),
        *(
            (RING, "dkim", "a", sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :])
            for at in range(len(sealed))
        ),
    ]
    for attempt in tries:
        with pytest.raises(SealError):
            unseal(*attempt)
    assert issubclass(SealError, ValueError)

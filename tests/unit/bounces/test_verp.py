"""Signed return paths: what we minted is read again in any case, and nothing else is."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bounces.verp import ForgedAddressError, ReturnAddress, ReturnKind, mint, read
from relay.mail.keyring import KeyRing

KEYS = KeyRing({1: b"a secret of the old days, kept..", 2: b"the secret that signs now......."})
OTHER = KeyRing.of(b"somebody else's secret.........")
DOMAIN = "bounce.shop.test"


@given(
    delivery=st.integers(0, 2**64 - 1),
    account=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(ReturnKind),
    shout=st.booleans(),
)
def test_what_was_minted_is_read_again(
    delivery: int, account: int, kind: ReturnKind, shout: bool
) -> None:
    """Whatever the ids, and also when a mail system changed the case."""
    address = mint(delivery, account, DOMAIN, KEYS, kind=kind)
    if shout:
        address = address.upper()
    assert read(address, KEYS) == ReturnAddress(kind=kind, delivery=delivery, account=account)


def test_the_local_part_fits_and_is_lower_case() -> None:
    """RFC 5321 section 4.5.3.1.1: 64 octets."""
    local, _, domain = mint(2**64 - 1, 2**32 - 1, "Bounce.SHOP.test", KEYS).partition(b"@")
    assert len(local) <= 64
    assert local == local.lower()
    assert domain == b"bounce.shop.test"


@given(place=st.integers(0, 41), letter=st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_a_changed_letter_is_refused(place: int, letter: str) -> None:
    """One letter of the token or of the kind changed: forged."""
    address = mint(17, 3, DOMAIN, KEYS).decode()
    changed = address[:place] + letter + address[place + 1 :]
    if changed == address:
        return
    with pytest.raises(ForgedAddressError):
        read(changed.encode(), KEYS)


@given(st.binary(max_size=120))
@settings(max_examples=300)
def test_any_other_bytes_are_refused(address: bytes) -> None:
    """And with nothing else than ForgedAddressError."""
    with pytest.raises(ForgedAddressError):
        read(address, KEYS)


def test_another_kind_domain_or_key_is_refused() -> None:
    """The signature covers all three."""
    address = mint(17, 3, DOMAIN, KEYS).decode()
    for forged in ("u" + address[1:], "f" + address[1:], address.replace("shop", "evil")):
        with pytest.raises(ForgedAddressError):
            read(forged.encode(), KEYS)
    with pytest.raises(ForgedAddressError):
        read(address.encode(), OTHER)


def test_an_old_key_still_verifies_and_a_dropped_one_does_not() -> None:
    """After a rotation mail to old return paths keeps coming for weeks."""
    old = KeyRing({1: b"a secret of the old days, kept.."})
    address = mint(17, 3, DOMAIN, old)
    assert read(address, KEYS).delivery == 17
    new = KeyRing({2: b"the secret that signs now......."})
    with pytest.raises(ForgedAddressError):
        read(address, new)


def test_ids_out_of_range_are_our_mistake() -> None:
    """Not silently cut."""
    with pytest.raises(struct.error):
        mint(2**64, 3, DOMAIN, KEYS)
    with pytest.raises(struct.error):
        mint(1, -1, DOMAIN, KEYS)


@pytest.mark.parametrize(
    "address",
    [
        b"",
        b"b+",
        b"b+@bounce.shop.test",
        b"b-" + b"a" * 40 + b"@bounce.shop.test",
        b"b+" + b"a" * 39 + b"@bounce.shop.test",
        b"b+" + b"1" * 40 + b"@bounce.shop.test",
        b"\xff+" + b"a" * 40 + b"@bounce.shop.test",
        b"x+" + b"a" * 40 + b"@bounce.shop.test",
        b"news@shop.test",
    ],
)
def test_shapes_that_are_none(address: bytes) -> None:
    """Each fails for its own reason, all with the same error."""
    with pytest.raises(ForgedAddressError):
        read(address, KEYS)

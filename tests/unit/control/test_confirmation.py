"""Codes fit what they were made for, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from relay.clock import SECOND
from relay.control.operations.confirmation import LIFETIME, Confirmations
from relay.errors import ConflictError
from relay.mail.keyring import KeyRing

AT = 1_800_000_000 * SECOND
RING = KeyRing.of(b"k" * 32)


def test_a_code_fits_for_a_quarter_of_an_hour() -> None:
    """To the second."""
    codes = Confirmations(RING)
    code = codes.code(b"change", "operator", 7, AT)
    codes.check(code, b"change", "operator", 7, AT + LIFETIME)
    with pytest.raises(ConflictError, match="too old"):
        codes.check(code, b"change", "operator", 7, AT + LIFETIME + SECOND)


_asked = some.tuples(some.binary(max_size=5), some.text(max_size=5), some.integers(0, 9))


@given(_asked, _asked)
def test_a_code_fits_one_change_one_caller_one_version(
    one: tuple[bytes, str, int], other: tuple[bytes, str, int]
) -> None:
    """Fields cannot run into each other."""
    codes = Confirmations(RING)
    code = codes.code(*one, AT)
    if one == other:
        codes.check(code, *other, AT)
    else:
        with pytest.raises(ConflictError):
            codes.check(code, *other, AT)


@given(some.text(max_size=40))
def test_invented_codes_do_not_fit(code: str) -> None:
    """Whatever they look like."""
    with pytest.raises(ConflictError):
        Confirmations(RING).check(code, b"change", "operator", 7, AT)


def test_its_time_cannot_be_stretched() -> None:
    """The moment in the code is signed."""
    codes = Confirmations(RING)
    code = codes.code(b"change", "operator", 7, AT)
    later = codes.code(b"change", "operator", 7, AT + 100 * SECOND)
    with pytest.raises(ConflictError, match="not for this"):
        codes.check(later[:8] + code[8:], b"change", "operator", 7, AT)


def test_another_ring_makes_other_codes() -> None:
    """Codes of another installation do not fit."""
    code = Confirmations(KeyRing.of(b"x" * 32)).code(b"change", "operator", 7, AT)
    with pytest.raises(ConflictError):
        Confirmations(RING).check(code, b"change", "operator", 7, AT)

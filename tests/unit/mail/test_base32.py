"""The quick base32 is the standard one."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mail.base32 import encode


@given(st.binary(max_size=40))
def test_it_is_the_standard_form_in_lower_case_without_padding(raw: bytes) -> None:
    assert encode(raw) == base64.b32encode(raw).lower().rstrip(b"=")


def test_more_than_it_can_do_is_refused() -> None:
    with pytest.raises(OverflowError):
        encode(b"\xff" * 41)

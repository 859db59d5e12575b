"""Our own addresses: those we send from, and those where we listen on the port of MX hosts."""

from __future__ import annotations

import pytest

from relay.delivery.mx.own import own_addresses


@pytest.mark.parametrize(
    ("doors", "address", "ours"),
    [
        (["192.0.2.1:25"], "192.0.2.1", True),
        (["192.0.2.1:2526"], "192.0.2.1", False),  # another port: not what MX hosts are asked at
        (["0.0.0.0:25"], "127.0.0.1", True),  # every address of this machine
        (["0.0.0.0:25"], "192.0.2.1", False),  # which this one is not
        (["[::]:25"], "127.0.0.1", True),
        (["", "127.0.0.1:2587"], "198.51.100.7", True),  # a source address
        (["[::1]:25"], "::1", True),
    ],
)
def test_whose_address_it_is(doors: list[str], address: str, ours: bool) -> None:
    assert (address in own_addresses(["198.51.100.7"], doors, 25)) is ours

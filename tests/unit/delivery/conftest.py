"""Transports that are closed at the end of each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from relay.delivery.transport import Transport
from tests.harness.outbound import MakeTransport, transport_for_tests


@pytest.fixture
async def make_transport() -> AsyncIterator[MakeTransport]:
    """Make transports that are closed at the end of the test."""
    made: list[Transport] = []

    def make(**options: object) -> Transport:
        made.append(transport_for_tests(**options))
        return made[-1]

    yield make
    for transport in made:
        await transport.close()


@pytest.fixture
def transport(make_transport: MakeTransport) -> Transport:
    """Give a transport with defaults."""
    return make_transport()

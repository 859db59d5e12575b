"""G04: the relay itself is replaced while clients keep coming.

With sockets that a service manager holds (systemd's two protocols, spoken by the test) nobody is
refused: who comes meanwhile waits and is greeted by the successor. The control is the same without
such sockets: then connections are refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest

from tests.harness.relay_under_test import RelayUnderTest

pytestmark = [pytest.mark.timeout(240), pytest.mark.long]


class Knocking:
    """A client that connects again and again; `heard` says how each try ended."""

    def __init__(self, address: tuple[str, int]) -> None:
        """Take the door."""
        self.heard: list[str] = []
        self._address = address

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            self.heard.append(await self._once())

    async def _once(self) -> str:
        try:
            reader, writer = await asyncio.open_connection(*self._address)
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)  # between tries, not to wait for anything
            return "refused"
        try:
            async with asyncio.timeout(60):
                return (await reader.readline())[:3].decode() or "closed"
        except ConnectionResetError:
            return "reset"
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def greeted(self, times: int) -> None:
        """Wait for so many more greetings."""
        wanted = self.heard.count("220") + times
        async with asyncio.timeout(60):
            while self.heard.count("220") < wanted:  # noqa: ASYNC110 - a client has no event for it
                await asyncio.sleep(0.01)


async def replaced(relay: RelayUnderTest) -> list[str]:
    """Stop it and start it again under knocking; gives what clients met."""
    await relay.start()
    knocking = Knocking(relay.address("submission"))
    task = asyncio.create_task(knocking.run())
    try:
        await knocking.greeted(5)
        assert await relay.stop() == 0
        await relay.start()
        await knocking.greeted(5)
    finally:
        task.cancel()
        await asyncio.wait([task])
        await relay.stop()
    return knocking.heard


async def test_nobody_is_refused_while_the_relay_is_replaced(tmp_path: Path) -> None:
    told = str(tmp_path / "notify")
    with contextlib.ExitStack() as held:
        manager = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        manager.bind(told)
        relay = RelayUnderTest(tmp_path / "run", environment={"NOTIFY_SOCKET": told})
        doors = ("submission", "tls", "plain", "inbound", "tracking", "admin", "sandbox")
        relay.hand_over(
            [
                held.enter_context(socket.create_server(relay.address(door), backlog=1024))
                for door in doors
            ]
        )
        heard = await replaced(relay)
        news = [manager.recv(64) for _ in range(4)]
    assert set(heard) <= {"220", "421"}
    assert news == [b"READY=1", b"STOPPING=1"] * 2


async def test_control_without_such_sockets_clients_are_refused(tmp_path: Path) -> None:
    assert "refused" in await replaced(RelayUnderTest(tmp_path / "run"))

"""Who is measured: Postfix, with and without opendkim, and Waypost behind one face, each with a
sink of its own, started once for all runs.

Guarantees: both keep their queue durable and relay to the same program, smtp-sink, on loopback;
both are idle while the other runs. What a contender cost is the CPU of all its processes, those
that ended included.
"""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path
from typing import Protocol

from bench.cases import CONNECTIONS, TRACKED
from bench.opendkim import OpenDkim
from bench.postfix import Postfix
from bench.sink import SinkProcess
from tests.harness.processes import Cost, cost, cost_of_tree
from tests.harness.provision import must, provision
from tests.harness.relay_under_test import RelayUnderTest


class Contender(Protocol):
    """One mail server under measurement."""

    name: str
    sink: SinkProcess

    @property
    def port(self) -> int:
        """Give the port to submit to, without login."""
        ...

    async def start(self) -> None:
        """Start it with its sink."""
        ...

    async def stop(self) -> None:
        """Stop both."""
        ...

    async def settled(self, messages: int) -> None:
        """Wait until nothing of a run of so many messages is left to do."""
        ...

    def cost(self) -> Cost:
        """Give the CPU seconds and memory of all its processes so far."""
        ...

    def shares(self) -> dict[str, float]:
        """Give the CPU seconds of its workers by name, where it has such."""
        ...


class PostfixContender:
    """Debian's Postfix without a milter."""

    def __init__(self, root: Path, name: str = "Postfix", *, extra: str = "") -> None:
        """Lay it out under `root`; `extra` lines go at the end of main.cf."""
        self.name = name
        folder = root / name.replace(" ", "-").lower()
        sink_port, self._port = free_ports(2)
        self.sink = SinkProcess(sink_port, root / f"{folder.name}-sink.out")
        self._server = Postfix(folder, port=self._port, sink=sink_port, extra=extra)

    @property
    def port(self) -> int:
        """Give its SMTP port."""
        return self._port

    async def start(self) -> None:
        """Start it."""
        await asyncio.to_thread(self._server.start)

    async def stop(self) -> None:
        """Stop it and its sink."""
        await asyncio.to_thread(self._server.stop)
        self.sink.stop()

    async def settled(self, messages: int) -> None:
        """Wait until its queue files are gone."""
        del messages
        active = self._server.root / "queue" / "active"
        await asyncio.to_thread(_wait_empty, active, time.monotonic() + 20)

    def cost(self) -> Cost:
        """Add up master and all below it."""
        return cost_of_tree(self._server.pid)

    def shares(self) -> dict[str, float]:
        """Give nothing: its processes come and go."""
        return {}


class SigningPostfixContender(PostfixContender):
    """Debian's Postfix with Debian's opendkim over a unix socket: it signs and tracks nothing."""

    def __init__(self, root: Path) -> None:
        """Lay both out under `root`."""
        self._signer = OpenDkim(root / "opendkim", TRACKED)
        super().__init__(root, "Postfix with opendkim", extra=self._signer.settings)

    async def start(self) -> None:
        """Start both."""
        await asyncio.to_thread(self._signer.start)
        await super().start()

    async def stop(self) -> None:
        """Stop both."""
        await super().stop()
        await asyncio.to_thread(self._signer.stop)

    def cost(self) -> Cost:
        """Add up both."""
        return super().cost() + cost_of_tree(self._signer.pid)


class WaypostContender:
    """Waypost with so many workers, a smarthost, and a client on loopback that needs no login."""

    def __init__(self, root: Path, workers: int) -> None:
        """Lay it out under `root`."""
        self.name = f"Waypost, {workers} worker{'s' if workers > 1 else ''}"
        (sink_port,) = free_ports(1)
        self.sink = SinkProcess(sink_port, root / f"waypost{workers}-sink.out")
        self.relay = RelayUnderTest(
            root / f"waypost{workers}",
            workers=workers,
            settings={
                "delivery": {
                    "mode": "smarthost",
                    "smarthost": f"127.0.0.1:{sink_port}",
                    "smarthost_tls": "none",
                    "connections": CONNECTIONS,
                    "messages_per_connection": 1_000_000,
                    "retry_max_seconds": 300,
                    "retry_first_seconds": 300,
                },
                "node": {"workers": workers, "log_level": "warning"},
            },
        )
        self._ended = 0

    @property
    def port(self) -> int:
        """Give the plain door for allow-listed clients."""
        return self.relay.address("plain")[1]

    async def start(self) -> None:
        """Start it and make the account."""
        await self.relay.start()
        await provision(self.relay, tracked=(TRACKED,), passwordless=True)
        domain = await must(self.relay, "GET", f"/domains/{TRACKED}")
        for key in domain["dkim"]:  # what is compared is RSA-2048 alone
            if key["algorithm"] != "rsa":
                await must(self.relay, "DELETE", f"/domains/{TRACKED}/dkim/{key['selector']}")

    async def stop(self) -> None:
        """Stop it and its sink."""
        await self.relay.stop()
        self.sink.stop()

    async def settled(self, messages: int) -> None:
        """Wait until the ledger has counted every delivery: that is part of the work."""
        self._ended += messages
        deadline = time.monotonic() + 120
        while await self._delivered() < self._ended:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the ledger lags behind\n{self.relay.tail()}")
            await asyncio.sleep(0.2)

    async def _delivered(self) -> int:
        answer = await must(self.relay, "GET", "/stats")
        return int(answer["rows"][0]["values"]["delivered"]) if answer["rows"] else 0

    def cost(self) -> Cost:
        """Add up the supervisor and all below it."""
        return cost_of_tree(self.relay.pid)

    def shares(self) -> dict[str, float]:
        """Give the CPU seconds of each child."""
        return {name: cost(pid).cpu for name, pid in sorted(self.relay.pids().items())}


def free_ports(count: int) -> list[int]:
    """Find ports that are free now."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _wait_empty(folder: Path, deadline: float) -> None:
    while any(path.is_file() for path in folder.rglob("*")) and time.monotonic() < deadline:
        time.sleep(0.05)

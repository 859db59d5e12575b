"""What sending one mail costs: CPU milliseconds of the sending process, 4 KB and 40 KB, connection
kept open.

    python -m bench.stage_egress [messages]

The sink is a child process, so that only our side is counted. Variants: one lane,
twenty lanes, and a loopback floor (the same bytes written and the same replies read by a bare
protocol).
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from typing import cast

import uvloop

from bench.stage_dkim import HEAD, body_of, cpu_ms
from relay.delivery.dkim import Signer
from relay.delivery.dkim_keys import generate
from relay.delivery.outgoing import Outcome, Outgoing, Verdict
from relay.delivery.pool import PoolLimits
from relay.delivery.route import Route, Smarthost, Smarthosts, TlsLevel
from relay.delivery.session import Opener
from relay.delivery.transport import Transport

_EHLO = b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 50000000\r\n"
_ENVELOPE = b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go ahead\r\n"
_QUEUED = b"250 2.0.0 queued as 0123456789\r\n"


class Sink(asyncio.Protocol):
    """Answers pipelined mail as fast as it can; knows only what the bench sends."""

    def __init__(self) -> None:
        """Start before the greeting."""
        self.in_content = False
        self.tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(b"220 sink.test\r\n")

    def data_received(self, data: bytes) -> None:
        """Take commands and contents."""
        replies = []
        while data:
            if self.in_content:
                joined = self.tail + data
                end = joined.find(b"\r\n.\r\n")
                if end < 0:
                    self.tail = joined[-4:]
                    break
                self.in_content, self.tail = False, b""
                replies.append(_QUEUED)
                data = joined[end + 5 :]
                continue
            end = data.find(b"DATA\r\n")
            if end >= 0:
                self.in_content = True
                replies.append(_ENVELOPE)
                data = data[end + 6 :]
                continue
            if data.startswith(b"EHLO"):
                replies.append(_EHLO)
            break
        if replies:
            self.transport.write(b"".join(replies))


def serve(pipe: Connection) -> None:
    """Run the sink until the pipe closes."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Sink, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await loop.run_in_executor(None, pipe.recv)

    uvloop.run(main())


class Job:
    """One mail, already made: rendering and signing are other stages."""

    __slots__ = ("bench", "delivery")

    def __init__(self, bench: Bench, delivery: int) -> None:
        """Take an id."""
        self.bench = bench
        self.delivery = delivery

    async def make(self) -> Outgoing:
        """Make the mail."""
        return Outgoing(
            delivery=self.delivery,
            return_path=b"b+abcdefghijklmnopqrstuvwxyz234567@bounce.shop.test",
            recipient=b"recipient%d@inbox.test" % self.delivery,
            content=self.bench.content,
        )

    def done(self, outcome: Outcome) -> None:
        """Count it."""
        self.bench.delivered += outcome.verdict is Verdict.DELIVERED


class Bench:
    """Gives jobs until there are enough."""

    def __init__(self, content: bytes, messages: int) -> None:
        """Send `content` so often."""
        self.content = content
        self.left = messages
        self.delivered = 0

    async def take(self) -> Job | None:
        """Give the next."""
        if not self.left:
            return None
        self.left -= 1
        return Job(self, self.left)


async def by_lanes(port: int, content: bytes, messages: int, lanes: int) -> None:
    """Send over so many lanes."""
    limits = PoolLimits(messages=10**9, age_seconds=1e9)
    transport = Transport(Smarthosts(), Opener(name="relay.test"), limits=limits)
    smarthost = Smarthost(host="127.0.0.1", port=port)
    route = Route(destination="inbox.test", smarthost=smarthost, tls=TlsLevel.NONE)
    bench = Bench(content, messages)
    await asyncio.gather(*(transport.run(route, bench.take) for _ in range(lanes)))
    if bench.delivered != messages:
        raise RuntimeError(f"{bench.delivered} of {messages} messages were delivered")
    await transport.close()


class Floor(asyncio.Protocol):
    """The least a client can do: write, count line ends, write."""

    def __init__(self, content: bytes, messages: int) -> None:
        """Send `content` so often."""
        self.content = content + b"\r\n.\r\n"
        self.left = messages
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.envelope = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Introduce."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(b"EHLO x\r\n" + self.envelope)

    def data_received(self, data: bytes) -> None:
        """Go on at 354."""
        if b"354" in data:
            self.left -= 1
            self.transport.write(self.content + (self.envelope if self.left else b""))
        elif not self.left and b"queued" in data:
            self.over.set_result(None)


async def by_floor(port: int, content: bytes, messages: int) -> None:
    """Send with the bare protocol."""
    loop = asyncio.get_running_loop()
    transport, floor = await loop.create_connection(
        lambda: Floor(content, messages), "127.0.0.1", port
    )
    await floor.over
    transport.close()


def measured(work: Callable[[], Awaitable[None]], messages: int) -> tuple[float, float]:
    """Give CPU ms per message and messages per second, the best of eight rounds."""

    async def once() -> tuple[float, float]:
        cpu, wall = time.process_time(), time.perf_counter()
        await work()
        spent = (time.process_time() - cpu) / messages * 1000
        return spent, messages / (time.perf_counter() - wall)

    rounds = [uvloop.run(once()) for _ in range(8)]
    return min(rounds)


def main() -> None:
    """Print the table."""
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
    ours, theirs = multiprocessing.Pipe()
    sink = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,))
    sink.start()
    port = ours.recv()
    key = generate("rsa")
    reference = cpu_ms(lambda: Signer("shop.test", "r1", key).sign(b"From: a\r\n", b"", at=1), 100)
    print(
        f"reference: one RSA-2048 signature {reference:.2f} ms CPU (0.21 where the budget was made)"
    )
    print("size    variant      ms CPU per message   messages/s")
    for size in (4_000, 40_000):
        content = HEAD + b"\r\n" + body_of(size - len(HEAD))
        variants: dict[str, Callable[[], Awaitable[None]]] = {
            "floor": lambda c=content: by_floor(port, c, messages),  # type: ignore[misc]
            "1 lane": lambda c=content: by_lanes(port, c, messages, 1),  # type: ignore[misc]
            "20 lanes": lambda c=content: by_lanes(port, c, messages, 20),  # type: ignore[misc]
        }
        for name, work in variants.items():
            cpu, rate = measured(work, messages)
            print(f"{size:6d}  {name:10s}  {cpu:12.4f}        {rate:10.0f}")
    ours.send(None)
    sink.join(5)
    sink.kill()


if __name__ == "__main__":
    main()

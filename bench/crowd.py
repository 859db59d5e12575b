"""Many SMTP clients that do no good, in a process of their own: connected and silent, or one octet
now and then.

    python -m bench.crowd PORT COUNT [--drip SECONDS] [--tls]

With `--tls` the port is one of implicit TLS; the handshake is done, then nothing. Each fifty come
from an address of their own on loopback. Prints one line of JSON when all are connected (greeted,
refused, failed), another when the server has cut the last or standard input ends (cut, seconds
until the last was).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import ssl
import sys
import time
from collections import Counter
from typing import cast

import uvloop

_AT_ONCE = 200
_PER_ADDRESS = 50


class Loiterer(asyncio.Protocol):
    """One connection."""

    def __init__(self, counts: Counter[str], open_ones: set[Loiterer]) -> None:
        """Take the counts and the set of those that are connected."""
        self.greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport
        self._counts = counts
        self._open = open_ones

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the banner."""
        self.transport = cast("asyncio.Transport", transport)
        self._open.add(self)

    def data_received(self, data: bytes) -> None:
        """Note how the server greets, and whether it says goodbye."""
        if not self.greeted.done():
            self._counts["greeted" if data[:1] == b"2" else "refused"] += 1
            self.greeted.set_result(None)
        elif data[:3] == b"421":
            self._counts["cut_with_421"] += 1

    def connection_lost(self, exc: Exception | None) -> None:
        """Be gone."""
        self._open.discard(self)
        self._counts["cut"] += 1
        if not self.greeted.done():
            self.greeted.set_result(None)


def _any_certificate() -> ssl.SSLContext:
    """Trust whoever answers: the relay made its certificate itself."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def main(options: argparse.Namespace) -> None:
    """Connect, loiter, tell."""
    loop = asyncio.get_running_loop()
    counts: Counter[str] = Counter()
    open_ones: set[Loiterer] = set()
    room = asyncio.Semaphore(_AT_ONCE)
    trust = _any_certificate() if options.tls else None

    async def connect(number: int) -> None:
        group = number // _PER_ADDRESS
        source = (f"127.1.{group >> 8}.{group & 255}", 0)
        async with room:
            try:
                _, one = await loop.create_connection(
                    lambda: Loiterer(counts, open_ones),
                    *("127.0.0.1", options.port),
                    local_addr=source,
                    ssl=trust,
                    server_hostname="localhost" if trust else None,
                )
                await asyncio.wait_for(one.greeted, 60)
            except (OSError, TimeoutError):
                counts["failed"] += 1

    began = time.monotonic()
    await asyncio.gather(*(connect(number) for number in range(options.count)))
    print(json.dumps({**counts, "seconds": time.monotonic() - began}), flush=True)
    ended = loop.run_in_executor(None, sys.stdin.read)
    last = time.monotonic()
    while open_ones and not ended.done():
        await asyncio.sleep(1)
        if options.drip and time.monotonic() - last >= options.drip:
            last = time.monotonic()
            for one in list(open_ones):
                with contextlib.suppress(OSError):
                    one.transport.write(b"N")
    print(json.dumps({**counts, "seconds": time.monotonic() - began}), flush=True)
    for one in list(open_ones):
        one.transport.abort()
    await ended


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.crowd")
    parser.add_argument("port", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("--drip", type=float, default=0.0, help="seconds between two octets")
    parser.add_argument("--tls", action="store_true", help="the port is one of implicit TLS")
    uvloop.run(main(parser.parse_args()))

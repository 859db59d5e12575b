"""A lean load generator: kept connections, pipelined transactions, prepared content. Says what it
cost itself.

python -m bench.load HOST PORT MESSAGES --content FILE [--connections 20] [--sender A] [--recipient
B]

The content of one message, the dot and the envelope of the next go out in one write (RFC 2920
section 3.1), so that one reply costs one wake-up. Prints one line of JSON: messages acknowledged
and refused, seconds, own CPU seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import uvloop

_MARK = b"@NUMBER@"


@dataclass
class Work:
    """What all connections share: what is left to send, and what came of it."""

    envelope: bytes
    head: bytes
    tail: bytes
    left: int
    done: asyncio.Future[None]
    started: int = 0
    taken: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    open: int = 0

    def settle(self, connections: int) -> None:
        """Finish when nothing is left or nobody is connected any more."""
        self.open += connections
        if self.open == 0 and not self.done.done():
            self.done.set_result(None)


class Client(asyncio.Protocol):
    """One connection: waits for the reply it needs, counts the others."""

    def __init__(self, work: Work) -> None:
        """Take part in the work."""
        self._work = work
        self._rest = b""
        self._expected: list[str] = ["banner"]
        self._number = 0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport; the server speaks first."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self._work.settle(1)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the work; what was under way is lost to the count."""
        if exc is not None:
            self._work.refused[f"connection lost: {exc}"] += 1
        self._work.settle(-1)

    def data_received(self, data: bytes) -> None:
        """Read replies and go on."""
        lines = (self._rest + data).split(b"\r\n")
        self._rest = lines.pop()
        for line in lines:
            if line[3:4] != b"-":
                self._reply(line)

    def _reply(self, line: bytes) -> None:
        if not self._expected:
            self._work.refused["unexpected: " + line.decode("ascii", "replace")] += 1
            self._transport.close()
            return
        step = self._expected.pop(0)
        good = line[:1] in b"23"
        if step == "dot" and good:
            self._work.taken += 1
        elif not good:
            self._work.refused[f"{step}: {line.decode('ascii', 'replace')}"] += 1
            self._transport.close()
            return
        if step == "banner":
            self._transport.write(b"EHLO load.test\r\n")
            self._expected.append("ehlo")
        elif step == "ehlo":
            self._transport.write(self._next_envelope())
        elif step == "data":
            self._content()

    def _next_envelope(self) -> bytes:
        work = self._work
        if work.left <= 0:
            self._expected.append("quit")
            return b"QUIT\r\n"
        work.left -= 1
        work.started += 1
        self._number = work.started
        self._expected += ("mail", "rcpt", "data")
        return work.envelope.replace(_MARK, b"%012d" % self._number)

    def _content(self) -> None:
        work = self._work
        number = b"%012d" % self._number
        self._expected.append("dot")
        parts = (work.head, number, work.tail, b".\r\n", self._next_envelope())
        self._transport.write(b"".join(parts))


async def generate(host: str, port: int, work: Work, connections: int) -> None:
    """Send everything over so many connections."""
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(lambda: Client(work), host, port)
    await work.done


async def main(options: argparse.Namespace) -> dict[str, object]:
    """Run once and give the figures."""
    content: bytes = options.content.read_bytes()
    head, _, tail = content.partition(_MARK)
    envelope = f"MAIL FROM:<{options.sender}>\r\nRCPT TO:<{options.recipient}>\r\nDATA\r\n".encode()
    work = Work(
        envelope=envelope,
        head=head,
        tail=tail,
        left=options.messages,
        done=asyncio.get_running_loop().create_future(),
    )
    began = time.monotonic()
    await generate(options.host, options.port, work, options.connections)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "taken": work.taken,
        "refused": dict(work.refused.most_common(20)),
        "seconds": time.monotonic() - began,
        "cpu": usage.ru_utime + usage.ru_stime,
    }


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.load")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("messages", type=int)
    parser.add_argument("--content", type=Path, required=True)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--sender", default="news@s.test")
    parser.add_argument("--recipient", default="u@NUMBER@@r.test")
    return parser.parse_args()


if __name__ == "__main__":
    print(json.dumps(uvloop.run(main(parse()))))

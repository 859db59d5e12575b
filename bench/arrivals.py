"""Mails that come when they come: an open loop. Each has a connection of its own, and the next one
comes at its time whatever became of those before it.

    python -m bench.arrivals HOST PORT RATE SECONDS --content FILE [--give-up 30]

A closed loop (`bench.load`) waits for answers and so offers no more than is served; this does not.
Sources are addresses on loopback in turn, so that no limit per address is met. Prints one line of
JSON: offered, taken, refused by reply code, failed (no answer in time, or no connection), the times
to 250 in milliseconds (median, 99th), how late the mails themselves came, own CPU seconds.
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

_SOURCES = 200


@dataclass
class Tally:
    """What came of the mails."""

    taken: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)
    refusal_times: list[float] = field(default_factory=list)


class Mail(asyncio.Protocol):
    """One mail over one connection, from the banner to QUIT."""

    def __init__(self, steps: tuple[bytes, ...], tally: Tally) -> None:
        """Take what is said after each good reply, and where to note the end."""
        self.ended = asyncio.get_running_loop().create_future()
        self._steps = iter(steps)
        self._left = len(steps)
        self._tally = tally
        self._began = time.monotonic()
        self._rest = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the banner."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Say the next line when a reply is complete."""
        self._rest += data
        while b"\n" in self._rest:
            line, _, self._rest = self._rest.partition(b"\n")
            if line[3:4] == b"-":
                continue
            if line[:1] not in b"23":
                self._end(line[:3].decode("ascii", "replace"))
                return
            self._left -= 1
            if self._left < 0:
                self._end("250")
                return
            self._transport.write(next(self._steps))

    def connection_lost(self, exc: Exception | None) -> None:
        """End without an answer."""
        self._end("lost")

    def give_up(self) -> None:
        """Nobody waits any longer; who waited has cancelled `ended`."""
        self._tally.failed["late"] += 1
        self._transport.abort()

    def _end(self, how: str) -> None:
        if self.ended.done():
            return
        self.ended.set_result(None)
        tally, took = self._tally, (time.monotonic() - self._began) * 1000
        if how == "250":
            tally.taken += 1
            tally.times.append(took)
            self._transport.write(b"QUIT\r\n")
        elif how.isdigit():
            tally.refused[how] += 1
            tally.refusal_times.append(took)
        else:
            tally.failed[how] += 1
        self._transport.close()


def _share(times: list[float], part: float) -> float:
    return sorted(times)[int(len(times) * part)] if times else 0.0


async def main(options: argparse.Namespace) -> None:
    """Offer mails at the rate."""
    loop = asyncio.get_running_loop()
    content = await asyncio.to_thread(Path(options.content).read_bytes)
    steps = (
        b"EHLO client.test\r\n",
        b"MAIL FROM:<news@s.test>\r\nRCPT TO:<ann@r.test>\r\n",
        b"",  # the reply to RCPT is awaited as well
        b"DATA\r\n",
        content + b".\r\n",
    )
    tally, late, running = Tally(), 0.0, set()

    async def one(number: int) -> None:
        source = (f"127.2.{number // 250 % 250}.{number % _SOURCES + 1}", 0)
        mail = Mail(steps, tally)
        try:
            async with asyncio.timeout(options.give_up):
                address = (options.host, options.port)
                await loop.create_connection(lambda: mail, *address, local_addr=source)
                await mail.ended
        except TimeoutError:
            if hasattr(mail, "_transport"):
                mail.give_up()
            else:
                tally.failed["no connection"] += 1
        except OSError as problem:
            tally.failed[type(problem).__name__] += 1

    began = time.monotonic()
    total = int(options.rate * options.seconds)
    for number in range(total):
        due = began + number / options.rate
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        late = max(late, time.monotonic() - due)
        task = asyncio.create_task(one(number))
        running.add(task)
        task.add_done_callback(running.discard)
    offered = time.monotonic() - began
    if running:
        await asyncio.wait(running)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    said = {
        "offered": total,
        "seconds": round(offered, 2),
        "all_seconds": round(time.monotonic() - began, 2),
        "taken": tally.taken,
        "refused": dict(tally.refused),
        "failed": dict(tally.failed),
        "median_ms": round(_share(tally.times, 0.5), 1),
        "p99_ms": round(_share(tally.times, 0.99), 1),
        "refusal_p99_ms": round(_share(tally.refusal_times, 0.99), 1),
        "late_seconds": round(late, 3),
        "cpu": round(usage.ru_utime + usage.ru_stime, 2),
    }
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.arrivals")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("rate", type=float)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--content", required=True)
    parser.add_argument("--give-up", type=float, default=30.0)
    uvloop.run(main(parser.parse_args()))

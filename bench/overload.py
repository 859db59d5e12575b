"""What overload does to a relay: more clients than it can serve, a crowd that only loiters, large
mail all at once, a client that reads nothing, a flood of clicks.

    python -m bench.overload [--crowd 10000] [--messages 3000] [--large 60] [--pin] [--cases A,B]

Prints one row of a table for each case, as docs/reliability.md wants them. A probe submits a small
mail again and again over a connection of its own, meanwhile; its times are what a well-behaved
client notices. Memory is that of the workers together.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvloop

from bench.newsletter import newsletter
from bench.sink import SinkProcess
from relay.sandbox.dialogue import Dialogue
from tests.harness.processes import total
from tests.harness.provision import provision
from tests.harness.relay_under_test import ROOT, RelayUnderTest

_MB = 1 << 20
_WORKERS = 2
_PINNED = shutil.which("taskset") is not None and (os.cpu_count() or 1) > 1
_ONE_CORE = ("taskset", "-c", "0") if _PINNED else ()
_OTHER_CORE = ("taskset", "-c", "1") if _PINNED else ()
_HEAD = b"From: <p@s.test>\r\nTo: <p@r.test>\r\nSubject: x\r\n"
_PROBE = _HEAD + b"\r\nx\r\n"


class Bench:
    """A relay, a sink behind it, and what is asked of both."""

    def __init__(self, relay: RelayUnderTest, folder: Path, prefix: tuple[str, ...] = ()) -> None:
        """Take a running relay, and what to put before the commands of our own."""
        self.relay = relay
        self.folder = folder
        self.port = relay.address("plain")[1]
        self.prefix = prefix

    @property
    def memory(self) -> str:
        """Give the workers' resident and peak memory together, MB."""
        pids = [pid for name, pid in self.relay.pids().items() if name.startswith("worker-")]
        found = total(pids)
        return f"{found.resident // _MB} MB (peak {found.peak // _MB})"

    async def load(self, messages: int, connections: int) -> dict[str, float]:
        """Submit with so many connections; gives what bench.load says, and the rate."""
        content = self.folder / "mail.eml"
        content.write_bytes(newsletter("s.test", 10_000, html=False))
        said = await self.run(
            *("-m", "bench.load", "127.0.0.1", str(self.port), str(messages)),
            *("--content", str(content), "--connections", str(connections)),
        )
        result = json.loads(said)
        result["rate"] = result["taken"] / result["seconds"]
        result["refusals"] = sum(result["refused"].values())
        return dict(result)

    async def run(self, *arguments: str) -> str:
        """Run one of our programs, where the relay does not."""
        process = await asyncio.create_subprocess_exec(
            *(*self.prefix, sys.executable), *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await process.communicate()
        return said.decode()

    @contextlib.asynccontextmanager
    async def probed(self) -> AsyncIterator[list[float]]:
        """Submit small mail during the block; gives the milliseconds each took."""
        times: list[float] = []
        task = asyncio.create_task(self._probe(times))
        try:
            yield times
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _probe(self, times: list[float]) -> None:
        async with Dialogue("127.0.0.1", self.port, seconds=60) as dialogue:
            while True:
                began = time.monotonic()
                said = await dialogue.send(b"p@s.test", (b"p@r.test",), _PROBE)
                times.append((time.monotonic() - began) * 1000 if said.good else float("inf"))
                await asyncio.sleep(0.05)


def shown(times: list[float]) -> str:
    """Give median and 99th percentile."""
    if not times:
        return "no mail"
    ordered = sorted(times)
    return f"{ordered[len(ordered) // 2]:.0f} / {ordered[len(ordered) * 99 // 100]:.0f} ms"


def row(*cells: object) -> None:
    """Print one row."""
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


async def overload(bench: Bench, messages: int) -> None:
    """L07: more connections than the relay has use for."""
    await bench.load(messages // 3, 20)
    peak = 0.0
    for connections in (10, 20, 40, 60, 120, 300):
        async with bench.probed() as times:
            found = await bench.load(messages, connections)
        peak = max(peak, found["rate"])
        share = found["rate"] / peak
        said = f"{found['rate']:.0f} mails/s ({share:.0%} of the best), {found['refusals']} refused"
        row(f"{connections} connections", said, shown(times), bench.memory)


async def arrivals(bench: Bench, seconds: float = 10.0) -> None:
    """L07: mails that come at their own time, each over its connection: ever more until not all are
    served any more, then three times what was.

    To be read with `--pin`: else what makes the mails takes the relay's time.
    """
    content = bench.folder / "mail.eml"
    content.write_bytes(newsletter("s.test", 10_000, html=False))

    async def offer(rate: float) -> dict[str, Any]:
        said = await bench.run(
            *("-m", "bench.arrivals", "127.0.0.1", str(bench.port), str(rate), str(seconds)),
            *("--content", str(content)),
        )
        found: dict[str, Any] = json.loads(said)
        found["rate"] = found["taken"] / found["all_seconds"]
        return found

    peak, rate = 0.0, 50.0
    while True:
        found = await offer(rate)
        peak = max(peak, found["rate"])
        if found["taken"] < 0.9 * found["offered"]:
            break
        rate *= 1.5
    for times in (1, 3, 6):
        found = await offer(peak * times)
        share = found["rate"] / peak
        refused = ", ".join(f"{number} x {code}" for code, number in found["refused"].items())
        failed = sum(found["failed"].values())
        told = f"{found['rate']:.0f} mails/s ({share:.0%} of the best), {refused or 'none'} refused"
        told += f", {failed} without an answer"
        times_of = f"{found['median_ms']:.0f} / {found['p99_ms']:.0f} ms (of the mails taken)"
        row(f"{times} x {peak:.0f} mails/s offered", told, times_of, bench.memory)


async def latecomer(port: int) -> tuple[int, float]:
    """Submit as a customer who comes when all places are taken; the tries, and what the last took
    in milliseconds.
    """
    for tries in range(1, 31):
        began = time.monotonic()
        try:
            async with Dialogue("127.0.0.1", port) as late:
                await late.send(b"p@s.test", (b"p@r.test",), _PROBE)
        except (OSError, EOFError):
            await asyncio.sleep(0.5)
            continue
        return tries, (time.monotonic() - began) * 1000
    return 30, float("inf")


async def crowd(bench: Bench, count: int, *, tls: bool = False) -> None:
    """L01, L02: as many as may connect and more, an octet every ten seconds; then all are cut.

    With `tls` at the door of implicit TLS, handshakes done.
    """
    before = bench.memory
    port = bench.relay.address("tls" if tls else "submission")[1]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.crowd", str(port)),
        *(str(count), "--drip", "10", *(["--tls"] if tls else [])),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    if process.stdout is None or process.stdin is None:
        raise RuntimeError("no pipes")
    said = json.loads(await process.stdout.readline())
    during = bench.memory
    tries, took = await latecomer(bench.port)
    async with bench.probed() as times:
        cut = json.loads(await process.stdout.readline())
    process.stdin.close()
    await process.wait()
    greeted, refused = said.get("greeted", 0), said.get("refused", 0)
    told = f"{greeted} taken in {said['seconds']:.0f} s, {refused} refused; memory before {before}"
    where = " under TLS" if tls else ""
    row(f"{count} that loiter{where}", told, f"a new client: {took:.0f} ms, try {tries}", during)
    gone = f"{cut.get('cut', 0)} cut after {cut['seconds']:.0f} s"
    row("the same, an octet in 10 s", gone, shown(times), bench.memory)


async def large(bench: Bench, count: int) -> None:
    """L03: mail of 24 MiB over many connections at once."""
    content = _HEAD + b"\r\n" + (b"x" * 76 + b"\r\n") * (24 * _MB // 78)
    answers: Counter[str] = Counter()

    async def one() -> None:
        try:
            async with Dialogue("127.0.0.1", bench.port, seconds=300) as dialogue:
                said = await dialogue.send(b"l@s.test", (b"l@r.test",), content)
                answers[f"{said.code}"] += 1
        except (OSError, EOFError, TimeoutError) as problem:
            answers[type(problem).__name__] += 1

    async with bench.probed() as times:
        await asyncio.gather(*(one() for _ in range(count)))
    said = ", ".join(f"{number} x {code}" for code, number in sorted(answers.items()))
    row(f"{count} mails of 24 MiB at once", said, shown(times), bench.memory)


async def deaf(bench: Bench) -> None:
    """L05: a client that pipelines commands and reads no reply."""
    before = bench.memory
    _, writer = await asyncio.open_connection("127.0.0.1", bench.port, limit=1)
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is a reading transport
    sent, began = 0, time.monotonic()
    with contextlib.suppress(OSError, TimeoutError):
        while sent < 1_000_000 and not writer.is_closing():
            writer.write(b"NOOP\r\n" * 1000)
            sent += 1000
            async with asyncio.timeout(30):
                await writer.drain()
    writer.transport.abort()
    said = f"{sent} commands went in {time.monotonic() - began:.0f} s; memory before {before}"
    row("replies never read", said, "", bench.memory)


async def clicks(bench: Bench, seconds: float = 5.0) -> None:
    """L10: requests with forged tokens, pipelined over twenty connections."""
    host, port = bench.relay.address("tracking")
    request = f"GET /c/{'A' * 120} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
    answered: Counter[bytes] = Counter()
    ends = time.monotonic() + seconds

    async def one() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        while time.monotonic() < ends:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            answered[head[9:12]] += 1
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length or b"0"))
        writer.close()

    async with bench.probed() as times:
        await asyncio.gather(*(one() for _ in range(20)))
    told = ", ".join(f"{n / seconds:.0f}/s x {code.decode()}" for code, n in answered.items())
    row("forged clicks", told, shown(times), bench.memory)


async def main(options: argparse.Namespace) -> None:
    """Run every case on one relay."""
    with tempfile.TemporaryDirectory(prefix="waypost-overload-") as scratch:
        folder = Path(scratch)
        pinned = _ONE_CORE if options.pin else ()
        relay = RelayUnderTest(folder / "run", settings={}, workers=_WORKERS, prefix=pinned)
        sink = SinkProcess(relay.address("sandbox")[1], folder / "sink.log")
        settings = relay.config.read_text(encoding="utf-8")
        more = f'mode = "smarthost"\nsmarthost = "127.0.0.1:{sink.port}"\nsmarthost_tls = "none"\n'
        settings = settings.replace("[delivery]\n", "[delivery]\n" + more)
        roomy = "max_connections_per_address = 1000\nidle_seconds = 60\n"
        settings = settings.replace("[submission]\n", "[submission]\n" + roomy)
        relay.config.write_text(settings, encoding="utf-8")
        try:
            async with relay:
                await provision(relay, untracked=("s.test",), passwordless=True)
                bench = Bench(relay, folder, _OTHER_CORE if options.pin else ())
                row("case", "what came of it", "probe, median / 99th", "memory of two workers")
                row(*["---"] * 4)
                for case in options.cases.split(","):
                    await {
                        "load": lambda: overload(bench, options.messages),
                        "clicks": lambda: clicks(bench),
                        "deaf": lambda: deaf(bench),
                        "large": lambda: large(bench, options.large),
                        "arrivals": lambda: arrivals(bench),
                        "crowd": lambda: crowd(bench, options.crowd),
                        "tls": lambda: crowd(bench, options.crowd, tls=True),
                    }[case]()
        finally:
            sink.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.overload")
    parser.add_argument("--crowd", type=int, default=10_000)
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--large", type=int, default=60)
    parser.add_argument(
        "--pin", action="store_true", help="the relay on one core, the load on another"
    )
    parser.add_argument("--cases", default="load,arrivals,clicks,deaf,large,crowd,tls")
    uvloop.run(main(parser.parse_args()))

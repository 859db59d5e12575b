"""Redirects and pixels per second of the tracking host, beside nginx and a bare aiohttp handler.

    python -m bench.hits [--rounds 3] [--seconds 4] [--workers 1]

Needs Debian's wrk and, for the comparison, nginx (nginx-light; its service need not run). All take
the same requests: links and pixels of mails that the relay has sent, in turns. A run of the relay
counts only if the ledger then has every answered hit as an event. The last part loads the relay
with newsletters at the same time and gives the latency that a few readers then see.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.contenders import free_ports
from bench.newsletter import newsletter
from tests.harness.processes import cost, cost_of_tree
from tests.harness.relay_under_test import ROOT
from tests.harness.sink_route import SinkRoute, sink_route

DOMAIN = "news.test"
MAILS = 40
_URL = re.compile(rb'"(https?://[^/"]+)(/[co]/[^"]+)"')
_SCRIPT = """\
local paths, at = {}, 0
for line in io.lines("%s") do paths[#paths + 1] = line end
function request()
  at = at %% #paths + 1
  return wrk.format("GET", paths[at], {Host = "%s", ["User-Agent"] = "Mozilla/5.0 (X11; Linux)"})
end
function done(summary, latency, _)
  io.write(string.format("RESULT %%d %%d %%d %%d\\n", summary.requests, summary.duration,
    summary.errors.status + summary.errors.read + summary.errors.timeout, latency:percentile(99)))
end
"""
_NGINX = """\
daemon off; master_process off; error_log stderr crit; pid {root}/nginx.pid;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 100000000;
  client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;
  uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
  server {{ listen 127.0.0.1:{port}; location / {{ return 302 https://shop.test/; }} }} }}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """What wrk saw: answers, per second, wrong ones, and the 99th percentile in milliseconds."""

    answers: int
    rate: float
    wrong: int
    p99: float


async def burst(port: int, script: Path, *, seconds: float, connections: int) -> Burst:
    """Load one server."""
    command = ("wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script))
    process = await asyncio.create_subprocess_exec(
        *command, f"http://127.0.0.1:{port}", stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    found = re.search(rb"RESULT (\d+) (\d+) (\d+) (\d+)", said)
    if found is None:
        raise RuntimeError(said.decode())
    answers, took, wrong, p99 = (int(each) for each in found.groups())
    return Burst(answers=answers, rate=answers / took * 1e6, wrong=wrong, p99=p99 / 1000)


async def send(route: SinkRoute, folder: Path, mails: int) -> None:
    """Submit newsletters over the door for allow-listed clients."""
    content = folder / "newsletter.eml"
    content.write_bytes(newsletter(DOMAIN, 40_960))
    host, port = route.relay.address("plain")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.load", host, str(port), str(mails)),
        *("--content", str(content), "--sender", f"news@{DOMAIN}"),
        cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


async def scripts(route: SinkRoute, folder: Path) -> dict[str, Path]:
    """Write wrk's scripts for clicks and pixels of mails that have arrived."""
    await send(route, folder, MAILS)
    made: dict[str, list[str]] = {"c": [], "o": []}
    host = ""
    for body in await route.arrived(MAILS):
        for base, path in _URL.findall(body):
            host = urlsplit(base.decode()).hostname or ""
            made[chr(path[1])].append(path.decode())
    found = {}
    for kind, name in (("c", "redirects"), ("o", "pixels")):
        paths = folder / f"{name}.txt"
        paths.write_text("\n".join(made[kind]))
        found[name] = folder / f"{name}.lua"
        found[name].write_text(_SCRIPT % (paths, host))
    return found


async def recorded(route: SinkRoute, measure: str, expected: int) -> bool:
    """Wait until the ledger has so many hits; wrk's last answers may be cut off, so some more."""

    async def there() -> bool:
        return int((await route.stats(DOMAIN, measure))[measure]) >= expected

    try:
        await route.relay.until(there, f"{expected} {measure}", 120)
    except AssertionError:
        return False
    return True


@contextmanager
def beside(root: Path) -> Iterator[dict[str, tuple[int, int]]]:
    """Run the others; gives port and process id by name."""
    first, second = free_ports(2)
    commands: dict[str, tuple[int, list[str]]] = {
        "bare aiohttp": (first, [sys.executable, "-m", "bench.bare_http", str(first)])
    }
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if nginx:
        (root / "nginx.conf").write_text(_NGINX.format(root=root, port=second))
        commands["nginx, static 302"] = (second, [nginx, "-c", str(root / "nginx.conf")])
    running = {
        name: (port, subprocess.Popen(command, cwd=ROOT))  # noqa: S603
        for name, (port, command) in commands.items()
    }
    try:
        yield {name: (port, process.pid) for name, (port, process) in running.items()}
    finally:
        for _, process in running.values():
            process.terminate()
            process.wait(10)


async def compare(options: argparse.Namespace, folder: Path) -> None:
    """Take turns and print the table, then the latency under load."""
    async with sink_route(folder / "relay", workers=options.workers) as route:
        ready = await scripts(route, folder)
        port = route.relay.address("tracking")[1]
        rows: dict[str, list[tuple[float, float]]] = {}
        before = {"clicks": 0, "opens": 0}
        with beside(folder) as others:
            for other, _ in others.values():
                await _listening(other)
            for number in range(options.rounds + 1):
                for name, (other, pid) in others.items():
                    used = cost(pid).cpu
                    seen = await burst(
                        other, ready["redirects"], seconds=options.seconds, connections=32
                    )
                    if number:
                        spent = (cost(pid).cpu - used) / seen.answers * 1e6
                        rows.setdefault(name, []).append((seen.rate, spent))
                for kind, measure in (("redirects", "clicks"), ("pixels", "opens")):
                    used = cost_of_tree(route.relay.pid).cpu
                    seen = await burst(port, ready[kind], seconds=options.seconds, connections=32)
                    before[measure] += seen.answers
                    good = await recorded(route, measure, before[measure]) and not seen.wrong
                    spent = (cost_of_tree(route.relay.pid).cpu - used) / seen.answers * 1e6
                    if number and good:
                        rows.setdefault(f"Waypost, {kind}", []).append((seen.rate, spent))
                    if not good:
                        print(f"{kind}: {seen.wrong} wrong answers, or hits missing", flush=True)
        table(rows)
        load = asyncio.create_task(send(route, folder, 100_000))
        await asyncio.sleep(2)
        arrived = len(route.sink.bodies)
        seen = await burst(port, ready["redirects"], seconds=options.seconds, connections=4)
        rate = (len(route.sink.bodies) - arrived) / options.seconds
        print(
            f"with newsletters at {rate:.0f}/s: {seen.rate:.0f} redirects/s over 4 connections, "
            f"99 of 100 within {seen.p99:.1f} ms"
        )
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)


async def _listening(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return


def table(rows: dict[str, list[tuple[float, float]]]) -> None:
    """Print medians, and ratios to the bare handler."""
    bare = statistics.median(rate for rate, _ in rows["bare aiohttp"])
    for name, found in rows.items():
        rate = statistics.median(each for each, _ in found)
        spent = statistics.median(each for _, each in found)
        print(
            f"{name:22}{rate:9.0f}/s {spent:9.1f} us CPU each {rate / bare:6.2f} of bare aiohttp",
            flush=True,
        )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.hits")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("bench.hits needs wrk: install Debian's package of that name")
    with tempfile.TemporaryDirectory(prefix="waypost-hits-") as folder:
        asyncio.run(compare(options, Path(folder)))


if __name__ == "__main__":
    main()

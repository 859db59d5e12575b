"""One run: load a contender, wait until the sink has everything and nothing is left to do, read
what it cost.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.cases import CONNECTIONS, Case
from bench.contenders import Contender
from bench.newsletter import newsletter
from tests.harness.relay_under_test import ROOT


class RunError(Exception):
    """A run that cannot be counted: something was refused or lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The figures of one run."""

    contender: str
    case: str
    messages: int
    seconds: float  # from the first connection until the sink has the last message
    submitted: float  # seconds until the last message was acknowledged
    cpu: float  # CPU seconds of all processes of the contender, until nothing was left to do
    peak: int  # sum of the peak memory of its processes so far, octets
    load_cpu: float = 0.0  # CPU seconds of the load generator, where it says so
    shares: dict[str, float] = field(default_factory=dict)  # CPU seconds by child

    @property
    def rate(self) -> float:
        """Give messages per second, end to end."""
        return self.messages / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Give CPU milliseconds per message."""
        return self.cpu / self.messages * 1000


async def measure(contender: Contender, case: Case, folder: Path, messages: int) -> Run:
    """Run once; raises RunError when not every message was taken and delivered exactly once."""
    before, shares, taken = contender.cost(), contender.shares(), contender.sink.count
    began = time.monotonic()
    load_cpu = await _load(contender.port, case, folder, messages)
    submitted = time.monotonic()
    ended = await asyncio.to_thread(contender.sink.wait_for, taken + messages, 180)
    await contender.settled(messages)
    after = contender.cost()
    if contender.sink.count != taken + messages:
        raise RunError(f"the sink has {contender.sink.count - taken} of {messages}")
    return Run(
        contender=contender.name,
        case=case.name,
        messages=messages,
        seconds=ended - began,
        submitted=submitted - began,
        cpu=after.cpu - before.cpu,
        peak=after.peak,
        load_cpu=load_cpu,
        shares={name: used - shares.get(name, 0.0) for name, used in contender.shares().items()},
    )


async def _load(port: int, case: Case, folder: Path, messages: int) -> float:
    """Send it all; give the loader's own CPU seconds, 0 where it does not say."""
    if not case.tracked:
        program = shutil.which("smtp-source", path="/usr/sbin:/usr/bin") or "smtp-source"
        said = await _run(
            *(program, "-d", "-s", str(CONNECTIONS), "-m", str(messages), "-l", str(case.size)),
            *("-f", f"a@{case.domain}", "-t", "u@r.test", f"127.0.0.1:{port}"),
        )
        if said.strip():
            raise RunError(f"smtp-source says: {said[:500]}")
        return 0.0
    content = folder / f"{case.size}.eml"
    content.write_bytes(newsletter(case.domain, case.size))
    said = await _run(
        *(sys.executable, "-m", "bench.load", "127.0.0.1", str(port), str(messages)),
        *("--content", str(content), "--connections", str(CONNECTIONS)),
        *("--sender", f"news@{case.domain}"),
    )
    result = json.loads(said)
    if result["taken"] != messages:
        raise RunError(f"taken {result['taken']} of {messages}: {result['refused']}")
    return float(result["cpu"])


async def _run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(300):
            said, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    text = said.decode("utf-8", "replace")
    if process.returncode:
        raise RunError(f"{command[0]} ended with {process.returncode}: {text[-500:]}")
    return text

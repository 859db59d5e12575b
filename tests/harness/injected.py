"""Faults of the operating system, put under a running process by strace: system calls that fail or
kill, one kind at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

from tests.harness.programs import need_program


@contextlib.asynccontextmanager
async def injected(pid: int, call: str, fault: str) -> AsyncIterator[None]:
    """Let a call of a process (and of all its threads) go wrong for the length of a block.

    `fault` is what strace takes behind the name of the call: `error=EIO:when=3`, for instance,
    counted for each thread from now on. The process may end meanwhile.
    """
    options = ("-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:{fault}")
    async with traced(pid, *options):
        yield


@contextlib.asynccontextmanager
async def traced(pid: int, *options: str) -> AsyncIterator[None]:
    """Run strace with these options on a process and all its threads for the length of a block.

    The process may end meanwhile.
    """
    strace = need_program("strace")
    tracer = await asyncio.create_subprocess_exec(
        *(strace, "-f", *options, "-p", str(pid)),
        stderr=asyncio.subprocess.PIPE,
    )
    assert tracer.stderr is not None
    async with asyncio.timeout(20):
        assert b"attached" in await tracer.stderr.readline()
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            tracer.send_signal(signal.SIGINT)
        async with asyncio.timeout(20):
            await tracer.communicate()

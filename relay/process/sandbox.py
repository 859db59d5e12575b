"""The sandbox as a child of the supervisor: its options come from the settings."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from relay.config import Config
from relay.layout import split_endpoint
from relay.process.life import Child
from relay.sandbox.process import SandboxOptions, serve_sandbox


async def serve(config: Config, sockets: Mapping[str, socket.socket], child: Child) -> None:
    """Take all mail of the relay until asked to stop."""
    options = SandboxOptions(
        tracking=split_endpoint(config.tracking.listen),
        tracking_hosts=frozenset({urlsplit(config.tracking.base_url).netloc}),
        delay=config.sandbox.delay_seconds,
    )
    child.watch()
    serving = asyncio.create_task(
        serve_sandbox(sockets["sandbox"], split_endpoint(config.inbound.listen), options)
    )
    child.ready()
    stopped = asyncio.create_task(child.stopping.wait())
    await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if serving.done():
        serving.result()
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving

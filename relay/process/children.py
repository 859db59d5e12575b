"""How a child of the supervisor comes to life: settings, log, inherited sockets, event loop, then
its role.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import uvloop

from relay import log
from relay.config import Config
from relay.config_file import load
from relay.errors import EXIT_CONFIG, ConfigError
from relay.process import allocation, descriptors
from relay.process.life import Child, StoppedEarlyError

_log = logging.getLogger(__name__)


def run_child(role: str, index: int, config_file: Path | None, handed: str) -> int:
    """Run `role` (control, worker, sandbox) until it is asked to stop; give the exit status.

    `handed` maps names of inherited sockets to file descriptors, as JSON.
    """
    name = f"{role}-{index}" if role == "worker" else role
    try:
        config = load(config_file, os.environ)
    except ConfigError as problem:
        print(f"waypost: {problem}", file=sys.stderr)  # noqa: T201 - there is no log yet
        return EXIT_CONFIG
    log.set_up(name, config.node.log_level)
    descriptors.raise_limit()
    allocation.give_back_large_blocks()
    sockets = {key: socket.socket(fileno=fd) for key, fd in json.loads(handed).items()}
    life = sockets.pop("life", None)
    try:
        uvloop.run(_run(role, index, config, sockets, life))
    except StoppedEarlyError as stopped:
        _log.info("%s", stopped)
    except ConfigError as problem:
        _log.critical("%s", problem)
        return EXIT_CONFIG
    except Exception:  # noqa: BLE001 - the border of the process; the supervisor starts it again
        _log.exception("%s ended", name)
        return 1
    return 0


async def _run(
    role: str,
    index: int,
    config: Config,
    sockets: Mapping[str, socket.socket],
    life: socket.socket | None,
) -> None:
    asyncio.get_running_loop().slow_callback_duration = 1.0
    if role == "worker":
        from relay.process.worker import serve_worker

        _imported()
        await serve_worker(config, index, sockets, Child(life))
    elif role == "control":
        from relay.process.control import serve_control

        _imported()
        await serve_control(config, sockets, Child(life))
    else:
        from relay.process.sandbox import serve

        _imported()
        await serve(config, sockets, Child(life))


def _imported() -> None:
    """Collect garbage from now on, and never look through what imports left."""
    gc.freeze()
    gc.enable()

"""A worker for tests of the admin API: real acceptance and a real spool, without a process.

Guarantees: mail handed in is accepted as a worker accepts it, by the settings that control has
published; every other command has an empty answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from relay.acceptance.handed_in import Counter, HandedIn
from relay.control.services import NoWorkers, Services
from tests.harness.clerk import clerk

_decode = msgspec.msgpack.Decoder(HandedIn).decode


class StandingWorker(NoWorkers):
    """The one worker that is connected."""

    def __init__(self, counter: Counter) -> None:
        """Take where mail is accepted."""
        self._counter = counter

    async def ask(
        self, name: str, args: dict[str, Any] | None = None, seconds: float = 10.0
    ) -> Mapping[int, Any]:
        """Answer with nothing."""
        del name, args, seconds
        return {}

    def connected(self) -> Sequence[int]:
        """Give its index."""
        return (0,)

    async def ask_one(self, worker: int, name: str, payload: bytes, seconds: float = 10.0) -> Any:
        """Accept a message."""
        del worker, name, seconds
        return msgspec.to_builtins(await self._counter.take(_decode(payload)))


@asynccontextmanager
async def standing_worker(folder: Path, services: Services) -> AsyncIterator[None]:
    """Let a worker stand behind the services."""
    async with clerk(folder, services.publisher.settings) as made:
        made.acceptance.settings = lambda: services.publisher.settings
        services.workers = StandingWorker(Counter(made.acceptance))
        yield

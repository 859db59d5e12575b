"""I7: what the workers of a run hold, asked again and again while the load is on, held to a budget.

Guarantees: the highest value of each worker and measure is kept; a worker that has never reported
counts as a fault of its own, so that silence is not taken for health. A worker that is dead, or
whose control is, is asked again at the next moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import aiohttp

BUDGET: Mapping[str, float] = {
    "peak_bytes": 300e6, "descriptors": 300, "tasks": 300, "lag_seconds": 5.0,
}  # fmt: skip
"""Of one worker under the loads of crash tests: eight connections, a busy machine."""

_EVERY = 0.5  # seconds; workers report once a second
_SAMPLE = re.compile(r'(?m)^waypost_worker_([a-z_]+){worker="(\d+)"} (\S+)$')


class Bounds:
    """The highest values so far; `ask` gives what /metrics says."""

    def __init__(
        self, ask: Callable[[], Awaitable[str]], budget: Mapping[str, float] = BUDGET
    ) -> None:
        """Take the way to ask."""
        self.highest: dict[tuple[str, int], float] = {}  # by measure and worker
        self._ask = ask
        self.budget = budget

    def take(self, exposition: str) -> None:
        """Keep what is higher than before; zeros are of a worker that has not reported yet."""
        for name, worker, text in _SAMPLE.findall(exposition):
            value, key = float(text), (name, int(worker))
            if name in self.budget and (value or name == "lag_seconds"):
                self.highest[key] = max(value, self.highest.get(key, 0.0))

    def wrong(self, workers: int) -> list[str]:
        """Name what is above its budget, and what was never reported."""
        said = []
        for name, most in self.budget.items():
            for worker in range(workers):
                value = self.highest.get((name, worker))
                if value is None:
                    said.append(f"{name} of worker {worker} was never reported")
                elif value > most:
                    said.append(f"{name} of worker {worker} was {value:g}; at most {most:g}")
        return said

    def most(self) -> dict[str, float]:
        """Give the highest value of each measure, of whichever worker."""
        found: dict[str, float] = {}
        for (name, _), value in self.highest.items():
            found[name] = max(value, found.get(name, 0.0))
        return found

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Ask as long as this lasts."""
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.wait([watching])
            if not watching.cancelled():
                watching.result()

    async def reported(self, workers: int) -> bool:
        """Ask once; tells whether every worker has said everything by now."""
        await self._once()
        return all((name, n) in self.highest for name in self.budget for n in range(workers))

    async def _watch(self) -> None:
        while True:
            await self._once()
            await asyncio.sleep(_EVERY)

    async def _once(self) -> None:
        with contextlib.suppress(OSError, aiohttp.ClientError, TimeoutError):
            self.take(await self._ask())

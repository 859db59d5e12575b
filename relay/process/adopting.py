"""Spools whose worker is gone, drained by this one (there are fewer workers than before).

Guarantees: of several workers one takes each orphan, whose lock decides in doubt; its mail goes and
its facts rise under its own name; a spool that is busy or cannot be read is looked at again later.
What had mail stays open until this worker ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from relay.process.sending import Outlet, Sending
from relay.spool.adopt import adopt, orphans
from relay.spool.local import LocalSpool
from relay.spool.options import SpoolOptions

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 30.0


class Adopting:
    """The orphans of one worker."""

    def __init__(
        self,
        spools: Path,
        index: int,
        workers: int,
        options: SpoolOptions,
        sending: Sending,
        begun: Callable[[Outlet], Awaitable[None]],
    ) -> None:
        """Look below `spools`; worker `index` of `workers` takes every so many. `begun` hears of
        each outlet before its mail goes.
        """
        self._spools = spools
        self._index = index
        self._workers = workers
        self._options = options
        self._sending = sending
        self._begun = begun
        self._seen: set[Path] = set()
        self._open: list[LocalSpool] = []
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Look for orphans again and again; ends by cancellation, or when one of them breaks."""
        try:
            while True:
                await self._look()
                if self._running:
                    done, _ = await asyncio.wait(
                        self._running, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED
                    )
                    for task in done:
                        task.result()
                else:
                    await asyncio.sleep(_LOOK_SECONDS)
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
            for spool in self._open:
                await spool.close()

    async def _look(self) -> None:
        owned = [str(number) for number in range(self._workers)]
        for path in await asyncio.to_thread(orphans, self._spools, owned):
            mine = path.name.isdigit() and int(path.name) % self._workers == self._index
            if not mine or path in self._seen:
                continue
            spool = await asyncio.to_thread(adopt, path, self._options)
            if spool is not None:
                await self._take(path, spool)

    async def _take(self, path: Path, spool: LocalSpool) -> None:
        self._seen.add(path)
        spool.start()
        if await spool.is_drained():  # nothing left since an earlier time
            await spool.close()
            return
        self._open.append(spool)
        outlet = self._sending.outlet(spool)
        _log.info("spool %s has no worker any more: its mail is sent from here", path.name)
        await self._begun(outlet)
        self._running.add(asyncio.create_task(outlet.dispatcher.run()))

"""What a worker does with what control sends, and what it says of itself once a second."""

from __future__ import annotations

import asyncio
import os
import resource
from collections import Counter

from relay import log
from relay.clock import now
from relay.live_settings import LiveSettings
from relay.process.doors import Doors
from relay.process.next_hops import POOL_MARK
from relay.process.sending import Outlet, Sending
from relay.recorder import Recorder
from relay.settings import Change
from relay.spool.local import LocalSpool
from relay.spool.protocol import QueueKey
from relay.suppressions import Suppressions

_QUEUE_SECONDS = 10.0
_LAG_SECONDS = 0.25


class Receiver:
    """The worker's side of `relay.link.uplink.Receiver`."""

    def __init__(
        self,
        settings: LiveSettings,
        suppressions: Suppressions,
        spool: LocalSpool,
        sending: Sending,
        doors: Doors,
        recorder: Recorder,
    ) -> None:
        """Take what changes and what can be counted."""
        self._settings = settings
        self._suppressions = suppressions
        self._spool = spool
        self._sending = sending
        self._doors = doors
        self._recorder = recorder
        self._oldest = 0.0
        self._lag = 0.0  # the longest since it was told last
        self._facts_until = 0  # every fact before this moment is in the ledger
        self._pause_changed = asyncio.Event()
        self._pause_changed.set()

    @property
    def settings_version(self) -> int:
        """Give the version of the settings in force."""
        return self._settings.current.version

    def changed(self, changes: tuple[Change, ...]) -> None:
        """Take steps of the change feed."""
        before = self._settings.current.pause
        self._settings.apply(changes)
        if self._settings.current.pause != before:
            self._pause_changed.set()

    def welcomed(self, version: int) -> None:
        """Read the snapshot if control has moved on while we were apart."""
        if version != self._settings.current.version:
            self._settings.reload()
            self._pause_changed.set()

    def suppressed(self) -> None:
        """Map the suppression table again."""
        self._suppressions.reload()

    async def watch_pauses(self) -> None:
        """Tell dispatch and spool what is paused, at the start and at each change."""
        while True:
            await self._pause_changed.wait()
            self._pause_changed.clear()
            for outlet in list(self._sending.outlets):
                await self.put_into_force(outlet)

    async def put_into_force(self, outlet: Outlet) -> None:
        """Tell one outlet what is paused."""
        pause = self._settings.current.pause

        def paused(key: QueueKey) -> bool:
            return (
                key.account in pause.accounts
                or key.destination in pause.destinations
                or key.destination.partition(POOL_MARK)[0] in pause.destinations
                or key.sending_domain in pause.domains
                or (key.account, key.campaign) in pause.campaigns
            )

        anything = pause.accounts or pause.destinations or pause.domains or pause.campaigns
        await outlet.dispatcher.pause(paused if anything else None)

    async def watch_queue(self) -> None:
        """Look for the oldest delivery, now and then: with many queues that is not for free."""
        while True:
            waiting = [
                one
                for outlet in list(self._sending.outlets)
                for one in await outlet.spool.destinations()
            ]
            oldest = [one.oldest for one in waiting if one.oldest]
            self._oldest = float(min(oldest, default=0))
            await asyncio.sleep(_QUEUE_SECONDS)

    async def watch_lag(self) -> None:
        """Notice how late the loop comes back to somebody who only waits for the clock."""
        clock = asyncio.get_running_loop().time
        while True:
            before = clock()
            await asyncio.sleep(_LAG_SECONDS)
            self._lag = max(self._lag, clock() - before - _LAG_SECONDS)

    def gauges(self) -> dict[str, float]:
        """Give the worker's present state."""
        outbox = sum(outlet.spool.outbox_bytes for outlet in self._sending.outlets)
        if not outbox:
            self._facts_until = now()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        lag, self._lag = self._lag, 0.0
        return {
            "connections": float(self._doors.sessions()),
            "inflight_bytes": float(self._doors.gate.inflight),
            "facts_until": float(self._facts_until),
            **self._queued(),
            "oldest_queued": self._oldest,
            "outbox_bytes": float(outbox),
            "spool_commit_seconds": self._spool.slowest_commit(),
            "suppressions": float(len(self._suppressions)),
            "settings_version": float(self._settings.current.version),
            "refusing": 1.0 if self._spool.refuses() else 0.0,
            "damaged": float(sum(outlet.spool.damaged for outlet in self._sending.outlets)),
            "max_rss_bytes": float(usage.ru_maxrss) * 1024,
            "descriptors": _descriptors(),
            "tasks": float(len(asyncio.all_tasks())),
            "lag_seconds": lag,
            "cpu_seconds": usage.ru_utime + usage.ru_stime,
        }

    def _queued(self) -> dict[str, float]:
        queued: Counter[str] = Counter()
        for outlet in self._sending.outlets:
            queued.update(outlet.spool.totals._asdict())
        return {f"queued_{state}": float(count) for state, count in queued.items()}

    def counters(self) -> dict[str, int]:
        """Give the worker's counters since it started."""
        inbound = {f"inbound_{name}": count for name, count in self._doors.inbound.counts.items()}
        submitted = self._doors.submission.counts.items()
        submissions = {f"submissions_{name}": count for name, count in submitted}
        return {
            **self._doors.counts,
            **self._recorder.counts,
            **inbound,
            **submissions,
            **self._sending.counters(),
            **{f"log_errors_{cause}": count for cause, count in log.errors.items()},
        }


def _descriptors() -> float:
    """Count the open descriptors; with none left to look, all that there may be."""
    try:
        return float(len(os.listdir("/proc/self/fd")))  # noqa: PTH208 - names only
    except OSError:
        return float(resource.getrlimit(resource.RLIMIT_NOFILE)[0])

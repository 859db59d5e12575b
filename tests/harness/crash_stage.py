"""Everything that a crash test needs, set up: a relay that is started again when it dies, a sink,
a driver, a verdict.

Guarantees: children are started again by their supervisor, a killed supervisor by this stage, as
an init system would; `verdict` waits (bounded) until all that was acknowledged has arrived and all
facts are counted, stops the relay, and judges I1 to I7 over ledger, sink, spools and facts.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import aiohttp

from relay.ledger.agreement import disagreements_of
from relay.sandbox.dialogue import Dialogue
from relay.sandbox.session import Take, Told, no_take, no_told
from relay.sandbox.sink import Sink
from tests.harness.bounds import Bounds
from tests.harness.checker import (
    Allowance,
    Findings,
    check,
    check_contents,
    check_counts,
    refused_for_good,
)
from tests.harness.driver import Course, Driver
from tests.harness.kept import Kept, integrity, read_kept
from tests.harness.kept_postgres import read_kept_postgres
from tests.harness.ledger_file import LedgerFile, Tried, read_ledger
from tests.harness.mails import Mail
from tests.harness.provision import Tenant, provision, submission_door
from tests.harness.relay_under_test import ROOT, RelayEndedError, RelayUnderTest
from tests.harness.untracking import Untracking

BREAKS = Path(__file__).parent / "breaks"
UNTRACKED = "plain.test"
"""A sending domain whose mail goes out as it came in."""
TRACKED = "tracked.test"
"""A sending domain whose opens and clicks are tracked, on a stage with `tracked`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a run."""

    findings: Findings
    kept: Kept
    exit_status: int
    restarts: int
    recovery_seconds: tuple[float, ...]  # from a killed supervisor to readiness, each time

    @property
    def broken(self) -> list[str]:
        """Name everything that is not as promised."""
        wrong = list(self.findings.broken)
        if self.exit_status != 0:
            wrong.append(f"the last exit status is {self.exit_status}")
        return wrong


class CrashStage:
    """Use as an async context manager in an empty directory."""

    def __init__(
        self,
        directory: Path,
        *,
        workers: int = 1,
        settings: Mapping[str, Mapping[str, object]] | None = None,
        broken: str = "",
        passwordless: bool = False,
        tracked: bool = False,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        take: Take = no_take,
        told: Told = no_told,
        postgres: str = "",
    ) -> None:
        """Prepare; `broken` names a break (breaks/sitecustomize.py), `prefix` goes before the
        command and `environment` with it, `take` and `told` hear of arrivals. `postgres` is the
        address at which the ledger is judged, if it is no file.
        """
        self.directory = directory
        self.relay: RelayUnderTest
        self.tenant: Tenant
        self.sink = Sink(directory / "sink.jsonl", take=take, told=told)
        self.recoveries: list[float] = []
        self.bounds = Bounds(self._exposition)
        self._workers = workers
        self._settings = dict(settings or {})
        self._broken = broken
        self._postgres = postgres
        self._passwordless = passwordless
        self._tracked = tracked
        self._prefix = tuple(prefix)
        self._environment = dict(environment or {})
        self._submitted: dict[str, bytes] = {}
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> CrashStage:
        """Start sink and relay and make an account."""
        host, port = await self.sink.start()
        settings: dict[str, Mapping[str, object]] = {
            "delivery": {
                "mode": "smarthost",
                "smarthost": f"{host}:{port}",
                "smarthost_tls": "none",
                "retry_first_seconds": 0.2,
                "retry_max_seconds": 1.0,
                "pause_first_seconds": 0.1,  # of the one destination, when a fault has hit it
                "pause_max_seconds": 0.4,
                **self._settings.pop("delivery", {}),
            },
            **self._settings,
        }
        path = {"PYTHONPATH": f"{BREAKS}:{ROOT}", "WAYPOST_BREAK": self._broken}
        self.relay = RelayUnderTest(
            self.directory,
            settings=settings,
            environment={**(path if self._broken else {}), **self._environment},
            prefix=self._prefix,
            workers=self._workers,
        )
        try:
            await self.relay.start()
            self.tenant = await provision(
                self.relay,
                tracked=(TRACKED,) if self._tracked else (),
                untracked=(UNTRACKED,),
                passwordless=self._passwordless,
            )
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        self._keeper = asyncio.create_task(self._keep())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End everything."""
        try:
            await self._let_die()
        finally:
            self.relay.kill_all()
            await self.relay.stop()
            await self.sink.close()

    async def drive(
        self,
        mails: Iterable[Mail],
        connections: int = 4,
        *,
        progress: Callable[[Course], None] = lambda _course: None,
        kind: str = "submission",
        patience: float = 60.0,
    ) -> Course:
        """Submit mail and note it in this stage's ledger."""
        sent = list(mails)
        self._submitted.update((mail.id, mail.content) for mail in sent)
        door = submission_door(self.relay, self.tenant, kind)
        with LedgerFile(self.directory / "ledger") as ledger:
            driver = Driver(door, ledger, patience=patience, progress=progress)
            async with self.bounds.watched():
                return await driver.run(sent, connections)

    async def worker(self, name: str = "worker-0", other_than: int = 0) -> int:
        """Wait for a living worker (a new one) and give its id."""
        found: list[int] = []

        async def there() -> bool:
            pid = self.relay.pids().get(name, other_than)
            found[:] = [pid] if pid != other_than else []
            return bool(found)

        await self.relay.until(there, f"a living {name}", 30)
        return found[0]

    @property
    def tried(self) -> Tried:
        """Give what the ledger says so far."""
        return read_ledger(self.directory / "ledger")

    async def stop(self) -> int:
        """Stop the relay by SIGTERM and leave it so; gives its exit status."""
        await self._let_die()
        return await self.relay.stop()

    async def start(self) -> None:
        """Start it again after `stop`."""
        await self.relay.start()
        self._keeper = asyncio.create_task(self._keep())

    async def launch(self, seconds: float = 60.0) -> None:
        """Start it again after `stop`, and wait only until it takes mail."""
        await self.relay.launch()

        async def taking() -> bool:
            with contextlib.suppress(OSError, EOFError, TimeoutError):
                async with Dialogue(*self.relay.address("submission")):
                    return True
            return False

        await self.relay.until(taking, "mail to be taken", seconds)
        self._keeper = asyncio.create_task(self._keep())

    async def ready(self, seconds: float = 30.0) -> None:
        """Wait until the relay says that it can do its work."""
        await self.relay.until(self.relay.is_ready, "the relay to be ready again", seconds)

    async def arrived(self, seconds: float = 60.0) -> None:
        """Wait until all that was acknowledged and not refused has arrived."""
        expected = self.tried.addresses(self.tried.acknowledged)
        expected -= refused_for_good(expected)

        async def there() -> bool:
            got = self.sink.got
            return expected <= {r for g in got if g.taken or g.uncertain for r in g.recipients}

        await self.relay.until(there, "all that was acknowledged to arrive", seconds)

    async def verdict(self, *, duplicates: int, seconds: float = 60.0) -> Verdict:
        """Wait for the end of the route, stop, and judge; `duplicates` is how many are allowed."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(AssertionError):  # what is missing, the checker will name
                await self.arrived(max(0.0, deadline - time.monotonic()))
                await self._counted(max(0.0, deadline - time.monotonic()))
            await self._let_die()
            with contextlib.suppress(AssertionError):  # who said nothing will be named
                await self.relay.until(self.tell_bounds, "what workers hold", 10)
            status = await self.relay.stop()
            kept = self._kept()
            if not (kept.waiting or kept.unsent) or time.monotonic() > deadline:
                break
            await self.relay.start()
        findings = self._judge(kept, duplicates)
        findings.miscounted += await self._disagreements()
        findings.unbounded += self.bounds.wrong(self._workers)
        return Verdict(
            findings=findings,
            kept=kept,
            exit_status=status,
            restarts=self.relay.starts - 1,
            recovery_seconds=tuple(self.recoveries),
        )

    def _kept(self) -> Kept:
        folder = self.relay.data_dir
        return read_kept_postgres(folder, self._postgres) if self._postgres else read_kept(folder)

    async def _disagreements(self) -> list[str]:
        """Hold events, rows, cubes, answers and Prometheus' counters against each other."""
        file = self.relay.data_dir / "ledger.sqlite"
        return await disagreements_of(self._postgres or f"sqlite:///{file}")

    async def _exposition(self) -> str:
        _, said = await self.relay.ask("GET", "/metrics")
        return str(said)

    async def tell_bounds(self) -> bool:
        """Ask what the workers hold; tells whether all have said so by now."""
        return await self.bounds.reported(self._workers)

    def _judge(self, kept: Kept, duplicates: int) -> Findings:
        tried, got = self.tried, self.sink.got
        returned = refused_for_good(tried.addresses(tried.recipients))
        findings = check(tried, got, Allowance(duplicates=duplicates, returned=returned))
        findings.miscounted += check_counts(tried, findings, kept.counts, returned)
        findings.miscounted += (f"{count} {what}" for what, count in _odds(kept).items() if count)
        findings.damaged += check_contents(
            got, self.sink.bodies, self._submitted, restore=self._untracking()
        )
        findings.damaged += integrity(self.relay.data_dir)
        return findings

    def _untracking(self) -> Callable[[bytes], bytes]:
        return Untracking(self.relay.data_dir, *self.relay.address("tracking"))

    async def _counted(self, seconds: float) -> None:
        """Wait until the statistics know an end of everything that was requested."""

        async def ended() -> bool:
            try:
                status, answer = await self.relay.ask("GET", "/api/v1/stats")
            except (OSError, aiohttp.ClientError, TimeoutError):
                return False  # control is being started again
            if status != 200 or not answer["rows"]:
                return False
            values = answer["rows"][0]["values"]
            ends = ("delivered", "hard_bounces", "soft_bounces", "failed", "excluded")
            return bool(values["requested"] == sum(values[name] for name in ends) > 0)

        await self.relay.until(ended, "all facts to be counted", seconds)

    async def _keep(self) -> None:
        """Start the relay again when it ended without being asked to."""
        while True:
            await self.relay.ended()
            while True:
                began = time.monotonic()
                await self.relay.gone()
                try:
                    await self.relay.start()
                except RelayEndedError:
                    continue  # struck again while it was starting
                break
            self.recoveries.append(time.monotonic() - began)

    async def _let_die(self) -> None:
        """Stop starting again; raises what went wrong with that."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper])
            if not keeper.cancelled() and keeper.exception() is not None:
                await keeper


def _odds(kept: Kept) -> dict[str, int]:
    return {
        "deliveries still wait": kept.waiting,
        "outbox rows were never taken": kept.unsent,
        "accepted deliveries have no end": kept.open,
        "deliveries have two ends": kept.anomalies,
        "facts are kept more than once": kept.repeated,
    }

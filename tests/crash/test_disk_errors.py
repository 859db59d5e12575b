"""P10, P11: the operating system says no. Writes, syncs and reads fail under a running worker; it
has no descriptors, no memory, a file system that became read-only.

Nothing acknowledged is lost, the client hears 4xx meanwhile, the operator sees it in /readyz, and
the worker serves again afterwards. After a failed sync it does not go on with what it has: it
starts anew (control: a worker that swallows the failure stays, and is found out).
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from tests.harness.crash_run import IN_FLIGHT
from tests.harness.crash_stage import UNTRACKED, CrashStage
from tests.harness.injected import injected
from tests.harness.mails import Mix, mails
from tests.harness.processes import alive, cost
from tests.harness.programs import need_program

pytestmark = pytest.mark.timeout(300)
MIX = Mix(sending_domain=UNTRACKED)
LARGE = Mix(sending_domain=UNTRACKED, largest=4_000_000, html=False)
SHORT = [("fdatasync", "error=EIO:when=2"), ("pwrite64", "error=ENOSPC:when=3+")]
LONG = [
    *((call, f"error=EIO:when={n}") for call in ("fdatasync", "pwrite64") for n in (1, 3, 6)),
    *(("pwritev", f"error={error}:when=1+") for error in ("EIO", "ENOSPC", "EROFS", "EDQUOT")),
    ("pread64", "error=EIO:when=1"),
    ("pwrite64", "error=EROFS:when=2+"),
    ("fdatasync", "error=ENOSPC:when=1+"),
    ("openat", "error=EMFILE:when=1+"),
    ("openat", "error=EROFS:when=1+"),
    ("ftruncate", "error=EIO:when=1"),
    ("unlink", "error=EIO:when=1"),
]


async def drive_under(stage: CrashStage, name: str, call: str, fault: str) -> None:
    """Submit ten messages while a call of the worker fails, then two that are to be taken."""
    async with injected(await stage.worker(), call, fault):
        await stage.drive(mails(f"{name}x", 10, seed=1, mix=MIX), connections=2)
    await stage.ready()
    course = await stage.drive(mails(f"{name}y", 2, seed=2, mix=MIX), connections=1)
    assert course.acknowledged == 2, f"{call} {fault}: {course.replies}"
    assert not [reply for reply in stage.tried.refused.values() if reply[:1] != "4"]


async def sweep(stage: CrashStage, faults: Iterable[tuple[str, str]]) -> None:
    """Put one fault after the other under the worker of one relay, and judge at the end."""
    faults = list(faults)
    for number, (call, fault) in enumerate(faults):
        await drive_under(stage, f"f{number}", call, fault)
    verdict = await stage.verdict(duplicates=IN_FLIGHT * len(faults))
    assert verdict.broken == []


@pytest.mark.long
async def test_a_disk_that_fails_loses_nothing(tmp_path: Path) -> None:
    async with CrashStage(tmp_path / "run") as stage:
        await sweep(stage, SHORT)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_every_way_in_which_a_disk_fails(tmp_path: Path) -> None:
    async with CrashStage(tmp_path / "run") as stage:
        await sweep(stage, LONG)


@pytest.mark.long
@pytest.mark.parametrize(("broken", "starts_anew"), [("", True), ("swallow-sync", False)])
async def test_after_a_failed_sync_a_worker_starts_anew(
    tmp_path: Path, broken: str, starts_anew: bool
) -> None:
    """And the control: one that goes on as if nothing had been said."""
    async with CrashStage(tmp_path / "run", broken=broken) as stage:
        before = await stage.worker()
        async with injected(before, "fdatasync", "error=EIO:when=1"):  # that of the segment
            await stage.drive(mails("m", 10, seed=1, mix=MIX), connections=2)
        await stage.ready()
        assert (not alive(before)) is starts_anew
        assert (" CRITICAL worker-0 " in stage.relay.log.read_text()) is starts_anew
        await stage.drive(mails("n", 2, seed=2, mix=MIX), connections=1)
        verdict = await stage.verdict(duplicates=IN_FLIGHT)
    assert verdict.broken == []


@pytest.mark.long
async def test_a_full_disk_shows_in_readiness_and_passes(tmp_path: Path) -> None:
    async with CrashStage(tmp_path / "run") as stage:

        async def unready() -> bool:
            return (await stage.relay.ask("GET", "/readyz"))[0] == 503

        async with injected(await stage.worker(), "pwrite64,pwritev", "error=ENOSPC:when=1+"):
            course = await stage.drive(mails("m", 3, seed=1, mix=MIX), connections=1)
            assert course.acknowledged == 0
            assert {reply[:9] for reply in course.replies} == {"452 4.3.1"}
            await stage.relay.until(unready, "/readyz to say no", 20)
        await stage.ready()
        assert (await stage.drive(mails("n", 3, seed=2, mix=MIX))).acknowledged == 3
        verdict = await stage.verdict(duplicates=0)
    assert verdict.broken == []


@contextlib.asynccontextmanager
async def limited(pid: int, what: int, value: int) -> AsyncIterator[None]:
    """Lower a soft limit of a running process for the length of a block."""
    before = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (value, before[1]))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, what, before)


@pytest.mark.long
async def test_without_descriptors_the_listener_rests_and_comes_back(tmp_path: Path) -> None:
    """EMFILE: whoever is in goes on, the accept loop does not spin, the door opens again."""
    async with CrashStage(tmp_path / "run") as stage:
        pid = await stage.worker()
        with contextlib.ExitStack() as held:
            async with limited(pid, resource.RLIMIT_NOFILE, cost(pid).descriptors + 10):
                address = stage.relay.address("submission")
                for _ in range(40):
                    held.enter_context(socket.create_connection(address))
                began = cost(pid).cpu
                await asyncio.sleep(3)  # what is measured is a span of time
                assert (cost(pid).cpu - began) / 3 < 0.2
                assert alive(pid)
        course = await stage.drive(mails("m", 5, seed=1, mix=MIX), connections=2)
        assert course.acknowledged == 5
        assert pid == await stage.worker()
        verdict = await stage.verdict(duplicates=0)
    assert verdict.broken == []
    assert "no connection could be taken: Too many open files" in stage.relay.log.read_text()


@pytest.mark.long
async def test_connections_do_not_take_the_last_descriptors(tmp_path: Path) -> None:
    """Of few descriptors some are kept: whoever is one too many is told so, mail goes on."""
    own = {"submission": {"max_connections_per_address": 1000}}
    prlimit = (need_program("prlimit"), "--nofile=200:200")
    async with CrashStage(tmp_path / "run", settings=own, prefix=prlimit) as stage:
        pid = await stage.worker()
        with contextlib.ExitStack() as held:
            heard = []
            for _ in range(150):
                one = socket.create_connection(stage.relay.address("submission"), timeout=10)
                held.enter_context(one)
                heard.append(await asyncio.to_thread(one.recv, 512))
            assert {said[:9] for said in heard} == {b"220 waypo", b"421 4.3.2"}
            assert cost(pid).descriptors < 180

            async def counted() -> bool:
                _, said = await stage.relay.ask("GET", "/metrics")
                return 'waypost_limits_total{limit="connections"} 0.0' not in said

            await stage.relay.until(counted, "the refusals to be counted", 20)
        course = await stage.drive(mails("m", 5, seed=1, mix=MIX), connections=2)
        assert course.acknowledged == 5
        assert pid == await stage.worker()
        verdict = await stage.verdict(duplicates=0)
    assert verdict.broken == []


@pytest.mark.long
async def test_without_memory_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """ENOMEM: large mail is put off or the worker starts anew; small mail goes afterwards."""
    async with CrashStage(tmp_path / "run") as stage:
        pid = await stage.worker()
        size = cost(pid).mapped
        async with limited(pid, resource.RLIMIT_AS, size + 8_000_000):
            await stage.drive(mails("m", 12, seed=1, mix=LARGE), connections=8)
        await stage.ready()
        assert (await stage.drive(mails("n", 5, seed=2, mix=MIX))).acknowledged == 5
        verdict = await stage.verdict(duplicates=IN_FLIGHT)
    assert verdict.broken == []

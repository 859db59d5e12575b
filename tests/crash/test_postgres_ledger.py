"""P13 to P15: the ledger is PostgreSQL and its server restarts, is away, is read-only, loses
connections in the middle of a commit.

Mail is accepted and delivered all along (the spool is SQLite, always), nothing is counted twice or
not at all once the server is back. The control forgets the high-water mark: facts whose commit went
through unanswered are then folded again, and the counts are found wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.harness.crash_stage import UNTRACKED, CrashStage, Verdict
from tests.harness.fault_proxy import FaultProxy, Weather
from tests.harness.mails import Mix, mails
from tests.harness.postgres import Cluster, postgres_cluster

pytestmark = [pytest.mark.timeout(300), pytest.mark.long]
MIX = Mix(sending_domain=UNTRACKED, recipients=2)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """One server for all tests."""
    with postgres_cluster() as running:
        yield running


def stage_at(folder: Path, url: str, real: str = "", broken: str = "") -> CrashStage:
    """Give a stage whose ledger is at `url`, and is read afterwards at `real`."""
    settings = {"ledger": {"url": url}}
    return CrashStage(folder / "run", settings=settings, postgres=real or url, broken=broken)


async def drive(stage: CrashStage, run: str, count: int) -> None:
    """Submit, and demand that everything is taken."""
    course = await stage.drive(mails(run, count, seed=1, mix=MIX), connections=4)
    assert (course.acknowledged, course.replies) == (count, {})


async def judged(stage: CrashStage) -> Verdict:
    """Judge: no message may have been sent twice either."""
    return await stage.verdict(duplicates=0, seconds=90)


async def test_restarts_under_load(tmp_path: Path, cluster: Cluster) -> None:
    async with stage_at(tmp_path, cluster.database()) as stage:
        driving = asyncio.create_task(drive(stage, "m", 300))
        for _ in range(5):
            await asyncio.to_thread(cluster.stop)
            await asyncio.to_thread(cluster.start)
        await driving
        verdict = await judged(stage)
    assert verdict.broken == []


@pytest.mark.parametrize(("broken", "miscounts"), [("", False), ("forget-unsent", True)])
async def test_a_server_that_is_away_stops_no_mail(
    tmp_path: Path, cluster: Cluster, broken: str, miscounts: bool
) -> None:
    """P13, also over a restart of the relay: workers start from their snapshot. The control."""
    async with stage_at(tmp_path, cluster.database(), broken=broken) as stage:
        await asyncio.to_thread(cluster.stop)
        try:
            await drive(stage, "a", 50)
            await stage.arrived()
            await stage.stop()
            await stage.launch()
            await drive(stage, "b", 50)
            await stage.arrived()
        finally:
            await asyncio.to_thread(cluster.start)
        await stage.ready(60)
        verdict = await stage.verdict(duplicates=0, seconds=4 if miscounts else 90)
    assert bool(verdict.findings.miscounted) is miscounts
    assert (verdict.broken == []) is not miscounts


async def test_connections_that_are_ended_and_a_read_only_server(
    tmp_path: Path, cluster: Cluster
) -> None:
    url = cluster.database()
    ours = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
    async with (
        stage_at(tmp_path, url) as stage,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as other,
    ):
        for number in range(10):
            await other.execute(f"SELECT pg_terminate_backend(pid) {ours}")
            await drive(stage, f"t{number}x", 10)
        await other.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        await other.execute("SELECT pg_reload_conf()")
        await other.execute(f"SELECT pg_terminate_backend(pid) {ours}")
        await drive(stage, "r", 30)
        await stage.arrived()
        await other.execute("SET default_transaction_read_only = off")
        await other.execute("ALTER SYSTEM RESET default_transaction_read_only")
        await other.execute("SELECT pg_reload_conf()")
        await other.execute(f"SELECT pg_terminate_backend(pid) {ours}")
        verdict = await judged(stage)
    assert verdict.broken == []


def cut(number: int) -> Weather:
    """Swallow the answer to one commit of each connection, not to the first, which opens it."""
    return Weather(unanswered=b"COMMIT", at=3 + number % 3)


@pytest.mark.parametrize(("broken", "miscounts"), [("", False), ("forget-marks", True)])
async def test_a_commit_whose_answer_is_lost(
    tmp_path: Path, cluster: Cluster, broken: str, miscounts: bool
) -> None:
    """P14: the server commits, and the connection ends before it can say so."""
    url = cluster.database()
    proxy = FaultProxy(("127.0.0.1", cluster.port))
    _, port = await proxy.start()
    through = url.replace(f":{cluster.port}/", f":{port}/")
    try:
        async with stage_at(tmp_path, through, url, broken) as stage:
            proxy.chosen = cut
            proxy.drop()
            await drive(stage, "m", 600)
            await stage.arrived()
            proxy.chosen = None
            verdict = await stage.verdict(duplicates=0, seconds=30 if miscounts else 90)
    finally:
        await proxy.close()
    assert proxy.swallowed > 2
    assert bool(verdict.findings.miscounted) is miscounts
    assert verdict.findings.lost == []


@pytest.mark.parametrize(("broken", "told"), [("", True), ("trust-server", False)])
async def test_a_server_without_fsync_is_told_of(
    tmp_path: Path, cluster: Cluster, broken: str, told: bool
) -> None:
    """P15, and its control."""
    async with stage_at(tmp_path, cluster.database(), broken=broken) as stage:
        _, metrics = await stage.relay.ask("GET", "/metrics")
        assert ("\nwaypost_ledger_durable 0.0\n" in metrics) is told
        assert ("THE LEDGER IS NOT DURABLE" in stage.relay.log.read_text()) is told

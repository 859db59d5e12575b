"""The driver keeps an honest ledger whatever the server does."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.sandbox.faults import How, Stage
from relay.sandbox.sink import Sink, scripted
from tests.harness.checker import check, check_contents
from tests.harness.driver import Course, Door, Driver
from tests.harness.ledger_file import LedgerFile, Tried, read_ledger
from tests.harness.mails import Mail, Mix, mails


async def drive(
    sink: Sink, tmp_path: Path, sent: list[Mail], connections: int = 3
) -> tuple[Course, Tried]:
    """Submit to a sink as if it were the relay."""
    host, port = await sink.start()
    try:
        with LedgerFile(tmp_path / "ledger") as ledger:
            driver = Driver(Door(host=host, port=port, seconds=5), ledger, patience=10)
            course = await driver.run(sent, connections)
    finally:
        await sink.close()
    return course, read_ledger(tmp_path / "ledger")


async def test_everything_arrives_once_and_whole(tmp_path: Path) -> None:
    sent = list(mails("m", 60, seed=3, mix=Mix(recipients=3)))
    sink = Sink()
    course, tried = await drive(sink, tmp_path, sent)
    assert (course.acknowledged, course.refused, course.indeterminate) == (60, 0, 0)
    assert check(tried, sink.got).broken == []
    submitted = {mail.id: mail.content for mail in sent}
    assert check_contents(sink.got, sink.bodies, submitted) == []


async def test_breaks_refusals_and_closings(tmp_path: Path) -> None:
    domains = ["sink.test", "drop-after-dot.test", "451-dot.test", "550-rcpt.test"]
    sent = [
        Mail(
            id=f"m-{n}",
            sender=b"a@x.test",
            recipients=(f"m-{n}.0@{domain}".encode(),),
            content=b"x\r\n",
        )
        for n, domain in enumerate(domains)
    ]
    sink = Sink()
    sink.script = [
        scripted(How.REPLY, Stage.BANNER, "421 4.3.2 busy"),
        scripted(How.DROP, Stage.EHLO),
    ]
    course, tried = await drive(sink, tmp_path, sent, connections=1)
    assert course.acknowledged == 1
    assert course.refused == 2
    assert course.indeterminate == 1
    assert tried.indeterminate == {"m-1"}
    assert set(tried.refused) == {"m-2", "m-3"}
    assert check(tried, sink.got).broken == []


async def test_patience_ends(tmp_path: Path) -> None:
    sink = Sink()
    host, port = await sink.start()
    await sink.close()
    with LedgerFile(tmp_path / "ledger") as ledger:
        driver = Driver(Door(host=host, port=port), ledger, patience=0.1)
        with pytest.raises(ExceptionGroup):
            await driver.run(mails("m", 1, seed=1), connections=1)
    assert read_ledger(tmp_path / "ledger") == Tried()

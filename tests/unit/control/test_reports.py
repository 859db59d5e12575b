"""The desk for reports in control where our own reading fails: an answer, and the mail is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from bounces.read import read
from bounces.report import Kind, Report
from metrics.events import Event
from relay.control.reports import ReportDesk
from relay.errors import StorageError
from relay.inbound.kept import Kept
from relay.ledger.engine import open_ledger
from relay.mail.keyring import KeyRing

RING = KeyRing.of(b"a secret of thirty-two bytes, ok")
MAIL = b"From: ann@inbox.test\r\nSubject: Hello\r\n\r\nNothing of ours\r\n"


def broken_read(_message: bytes) -> Report:
    raise ValueError("a fault of ours")


def broken_hosts() -> Sequence[str]:
    raise ValueError("a fault of ours")


def no_memory(_message: bytes) -> Report:
    raise MemoryError


def no_storage() -> Sequence[str]:
    raise StorageError("away")


async def _record(_facts: Sequence[Event]) -> None:
    raise AssertionError("there is nothing to record")


async def test_a_mail_that_breaks_us_is_kept_and_answered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        moments = iter(range(100))
        for number, (reads, hosts) in enumerate([(broken_read, tuple), (read, broken_hosts)], 1):
            desk = ReportDesk(
                *(ledger, RING, _record, hosts),
                kept=Kept(tmp_path / "kept"),
                reads=reads,
                clock=moments.__next__,
            )
            taken = await desk.take(MAIL)
            assert (taken.report.kind, taken.found, taken.events) == (Kind.OTHER, None, ())
            assert len(list((tmp_path / "kept").iterdir())) == number
        assert caplog.text.count("ValueError: a fault of ours") == 2


async def test_what_is_no_fault_of_the_mail_passes(tmp_path: Path) -> None:
    async with open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        kept = Kept(tmp_path / "kept")
        with pytest.raises(MemoryError):
            await ReportDesk(ledger, RING, _record, tuple, kept=kept, reads=no_memory).take(MAIL)
        with pytest.raises(StorageError):
            await ReportDesk(ledger, RING, _record, no_storage, kept=kept).take(MAIL)
        assert not (tmp_path / "kept").exists()


async def test_what_came_back_is_counted_by_kind(tmp_path: Path) -> None:
    """As the inbound door counts it: metrics add both."""
    told: list[Event] = []

    async def record(facts: Sequence[Event]) -> None:
        told.extend(facts)

    bounce = (
        b"Return-Path: <>\r\nFrom: MAILER-DAEMON@isp.test\r\nSubject: failure notice\r\n\r\n"
        b"<ann@inbox.test>: 550 5.1.1 User unknown\r\n"
    )
    async with open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        desk = ReportDesk(ledger, RING, record, tuple, kept=Kept(tmp_path / "kept"))
        await desk.take(MAIL)
        await desk.take(bounce)
    assert +desk.counts == {"other": 1, "bounce": 1, "unlinked": 1}
    assert len(told) == 1

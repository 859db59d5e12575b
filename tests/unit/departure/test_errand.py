"""Mail that breaks our own code is set aside, visible and whole, and costs its lane nothing."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest

from relay.clock import now
from relay.delivery.outgoing import Outcome, Problem, Stage, Verdict
from relay.delivery.schedule import Schedule
from relay.departure.depart import Departure
from relay.departure.errand import Errand, Office
from relay.message import Delivery, Disposition, Settlement
from relay.spool.protocol import Selection
from tests.harness.clerk import clerk, settings

CONTENT = b"From: news@shop.test\r\n\r\nHello\r\n"
BROKEN = Outcome(
    delivery=1, verdict=Verdict.BOUNCED, stage=Stage.MAIL, problem=Problem.LOCAL, error="bare LF"
)


class BrokenDeparture:
    """A bug of ours."""

    def depart(self, *_of: object) -> None:
        raise ZeroDivisionError("plan")


async def test_mail_that_we_cannot_render_or_send_is_held(tmp_path: Path) -> None:
    ended: list[Settlement] = []

    def finished(_of: Delivery, settlement: Settlement, _outcome: Outcome | None) -> None:
        ended.append(settlement)

    async with clerk(tmp_path, settings()) as under_test:
        await under_test.hand_in(CONTENT, "ann@inbox.test", "bob@inbox.test")
        spool = under_test.spool
        claimed = [
            delivery
            for queue in (await spool.due(now(), 10)).queues
            for delivery in await spool.claim([(queue.id, 10)], now())
        ]
        office = Office(
            spool=spool,
            departure=cast(Departure, BrokenDeparture()),
            schedule=Schedule(),
            clock=now,
            node="node1",
            told=lambda _event, _spool: None,
            finished=finished,
        )
        first, second = (Errand(one, office) for one in claimed)
        assert await first.make() is None
        second.done(BROKEN)
        await spool.record([b"\xc0"])  # comes after them in the same order
        held = await spool.waiting(Selection(), 10)
    assert [one.disposition for one in ended] == [Disposition.HOLD] * 2
    assert [one.state.name for one in held] == ["HELD"] * 2
    assert ["ZeroDivisionError" in held[0].last_reply, "bare LF" in held[1].last_reply] == [
        True, True,
    ]  # fmt: skip


class NoMemory:
    """A message that is too large for now."""

    def depart(self, *_of: object) -> None:
        raise MemoryError


def failing(problem: Exception) -> Callable[[int], Awaitable[object]]:
    """Give a way to load content that fails."""

    async def load(_message: int) -> object:
        raise problem

    return load


@pytest.mark.parametrize(
    "problem", [None, MemoryError(), OSError(errno.EMFILE, "files"), OSError(errno.EIO, "disk")]
)
async def test_mail_that_there_is_no_room_for_waits_and_the_log_says_why(
    problem: Exception | None,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rendering or reading (a `problem`): no attempt is counted, and the cause goes with the record
    (`relay.log` counts it). A disk that gives nothing back is dispatch's to judge: the control.
    """
    async with clerk(tmp_path, settings()) as under_test:
        await under_test.hand_in(CONTENT, "ann@inbox.test")
        spool = under_test.spool
        (queue,) = (await spool.due(now(), 10)).queues
        (claimed,) = await spool.claim([(queue.id, 1)], now())
        office = Office(
            spool=spool,
            departure=cast(Departure, NoMemory()),
            schedule=Schedule(),
            clock=now,
            node="node1",
            told=lambda _event, _spool: None,
            finished=lambda *_of: None,
        )
        if problem is not None:
            monkeypatch.setattr(spool, "load", failing(problem))
        errand = Errand(claimed, office)
        if isinstance(problem, OSError) and problem.errno == errno.EIO:
            with pytest.raises(OSError, match="disk"):
                await errand.make()
            return
        assert await errand.make() is None
        await spool.record([b"\xc0"])
        (waiting,) = await spool.waiting(Selection(), 10)
    assert (waiting.state.name, waiting.attempt) == ("WAITING", claimed.attempt)
    (record,) = [one for one in caplog.records if one.levelname == "ERROR"]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], MemoryError if problem is None else type(problem))

"""Who is slow is cut, with a reply, and what was half said is not kept."""

from __future__ import annotations

import asyncio

import pytest

from relay.submission import replies
from relay.submission.deadlines import DeadlineWheel
from relay.submission.options import SessionLimits
from relay.submission.patience import Patience
from relay.submission.tls import ServerTls
from tests.harness.smtp_talk import open_door

LIMITS = SessionLimits()


def test_idle_counts_from_the_last_complete_command() -> None:
    patience = Patience(LIMITS, 1000.0)
    assert patience.idle(1299.0) is None
    assert patience.idle(1300.0) == replies.IDLE
    patience.active = 1290.0
    assert patience.idle(1589.0) is None
    assert patience.idle(1590.0) == replies.IDLE


def test_c14_content_must_reach_500_octets_per_second_over_a_minute() -> None:
    patience = Patience(LIMITS, 0.0)
    patience.note_content_begins(100.0)
    assert patience.slow_content(159.0, 0) is None
    assert patience.slow_content(160.0, 30_000) is None
    assert patience.slow_content(219.0, 30_000) is None
    assert patience.slow_content(220.0, 59_999) == replies.TOO_SLOW

    patience.note_content_begins(300.0)
    assert patience.slow_content(360.0, 6_000) == replies.TOO_SLOW  # 100 octets per second


def test_old_connection_ends_between_messages_and_content_gets_a_minute_more() -> None:
    patience = Patience(LIMITS, 0.0)
    assert not patience.is_old(3599.0)
    assert patience.is_old(3600.0)
    patience.note_content_begins(3599.0)
    assert patience.slow_content(3658.0, 0) is None
    assert patience.slow_content(3660.0, 10_000_000) == replies.TOO_OLD


class Item:
    def __init__(self, *answers: float | None) -> None:
        self.answers = list(answers)
        self.seen: list[float] = []
        self.done = asyncio.Event()

    def look(self, now: float) -> float | None:
        self.seen.append(now)
        answer = self.answers.pop(0)
        if answer is None:
            self.done.set()
            return None
        return now + answer


async def test_wheel_looks_when_told_and_not_before() -> None:
    loop = asyncio.get_running_loop()
    wheel = DeadlineWheel(loop, tick=0.01)
    item, never = Item(0.03, None), Item(None)
    began = loop.time()
    wheel.watch(item, began + 0.02)
    wheel.watch(never, began + 0.02)
    wheel.forget(never)
    await item.done.wait()
    assert item.seen[0] >= began + 0.02
    assert item.seen[1] >= item.seen[0] + 0.03
    assert never.seen == []
    wheel.stop()


async def test_wheel_keeps_one_arrangement_per_item() -> None:
    loop = asyncio.get_running_loop()
    wheel = DeadlineWheel(loop, tick=0.01)
    item = Item(None)
    for _ in range(5):
        wheel.watch(item, loop.time() + 0.02)
    await item.done.wait()
    last = Item(None)
    wheel.watch(last, loop.time() + 0.03)
    await last.done.wait()
    assert len(item.seen) == 1
    wheel.stop()


async def test_silent_client_is_told_and_closed(server_tls: ServerTls) -> None:
    async with open_door(server_tls, idle=0.05, tick=0.01) as opened:
        for stage in ("fresh", "greeted", "transaction"):
            talk = await opened.at(stage)
            assert await talk.rest() == [replies.IDLE.decode()]
            await talk.close()
    assert opened.counts["deadlines"] == 3


async def test_c13_octets_of_a_command_buy_no_time(server_tls: ServerTls) -> None:
    async with open_door(server_tls, idle=0.1, tick=0.01) as opened:
        talk = await opened.at("greeted")

        async def drip() -> None:
            while True:
                await talk.send([b"N"])
                await asyncio.sleep(0.01)

        dripping = asyncio.create_task(drip())
        assert await talk.rest() == [replies.IDLE.decode()]
        dripping.cancel()
        await talk.close()


async def test_slow_content_is_cut_and_nothing_is_kept(server_tls: ServerTls) -> None:
    async with open_door(server_tls, data_window=0.05, data_rate=10**6, tick=0.01) as opened:
        talk = await opened.at("data")
        await talk.send([b"Subject: x\r\n"])
        assert await talk.rest() == [replies.TOO_SLOW.decode()]
        await talk.close()
    assert opened.recorder.envelopes == []


async def test_a10_a_slow_handler_is_not_a_slow_client(server_tls: ServerTls) -> None:
    async with open_door(server_tls, idle=0.05, tick=0.01) as opened:
        opened.recorder.hold = asyncio.Event()
        talk = await opened.at("data")
        await talk.send([b"x\r\n.\r\n"])
        await opened.recorder.begun.wait()
        later = Item(None)
        opened.door.wheel.watch(later, opened.door.loop.time() + 0.2)
        await later.done.wait()  # four times the idle limit has passed
        opened.recorder.hold.set()
        assert await talk.reply() == "250 2.0.0 Taken"
        await talk.close()


async def test_old_connection_is_told_at_the_next_boundary(server_tls: ServerTls) -> None:
    async with open_door(server_tls, age=0.05, tick=0.01) as opened:
        talk = await opened.at("fresh")
        assert await talk.rest() == [replies.TOO_OLD.decode()]
        await talk.close()


async def test_client_that_never_closes_is_cut(server_tls: ServerTls) -> None:
    async with open_door(server_tls, linger=0.05, tick=0.01) as opened:
        talk = await opened.connect()
        assert (await talk.say(b"QUIT\r\n")).startswith("221")
        await opened.door.empty()
        await talk.close()


@pytest.mark.parametrize("count", [60_000])
async def test_client_that_reads_no_replies_is_not_answered_without_bound(
    count: int, server_tls: ServerTls
) -> None:
    async with open_door(server_tls, junk=10**6, idle=0.3, tick=0.01) as opened:
        talk = await opened.connect()
        talk.writer.transport.pause_reading()  # type: ignore[attr-defined]
        async with talk.sending([b"HELP\r\n" * 1000] * (count // 1000)):
            session = next(iter(opened.door.sessions))
            await opened.door.empty()
            assert session.engine.buffered == 0
        await talk.close()
    assert opened.counts["deadlines"] == 1

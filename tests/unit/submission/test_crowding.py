"""A queue at the socket that stands is cut to what is served soon; a crowd that passes is not."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from relay.submission import crowding, replies
from relay.submission.crowding import Crowding, waiting
from relay.submission.tls import ServerTls
from tests.harness.smtp_talk import Talk, open_door


def test_the_kernel_says_how_many_wait() -> None:
    with contextlib.ExitStack() as held, socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        assert waiting(listening) == 0
        for _ in range(5):
            held.enter_context(socket.create_connection(listening.getsockname()))
        assert waiting(listening) == 5
        listening.accept()[0].close()
        assert waiting(listening) == 4


def _served(rate: float, offered: float, seconds: float, processes: int = 1) -> tuple[int, int]:
    """Serve a queue in steps of 50 ms; give what was turned away, and the longest queue left
    after the first seconds.
    """
    known, queue, away, longest, taken = Crowding(processes), 0.0, 0, 0.0, 0.0
    for step in range(int(seconds / 0.05)):
        queue += offered * 0.05
        served = min(queue, rate * 0.05)
        queue -= served
        taken += served
        refused = known.too_many(step * 0.05, int(served / processes), int(queue))
        queue -= refused
        away += refused
        if step > 40:
            longest = max(longest, queue)
    return away, int(longest)


def test_as_many_as_are_served_are_never_turned_away() -> None:
    assert _served(100, 90, 60) == (0, 0)


@pytest.mark.parametrize("times", [2, 3, 10])
@pytest.mark.parametrize("processes", [1, 4])
def test_of_more_the_rest_goes_and_who_stays_waits_half_a_second(
    times: int, processes: int
) -> None:
    away, longest = _served(200, 200 * times, 60, processes)
    assert away >= 0.9 * 200 * (times - 1) * 60
    assert longest <= 200 * 0.55


def test_a_crowd_that_comes_at_once_is_served_in_its_turn() -> None:
    known, queue = Crowding(), 300
    for step in range(15):
        queue -= 20
        assert known.too_many(step * 0.05, 20, queue) == 0


async def test_those_too_many_are_told_and_counted(
    server_tls: ServerTls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowding, "_PATIENCE", 0.0)
    monkeypatch.setattr(crowding, "_WAIT", 0.0)
    monkeypatch.setattr(crowding, "_FEW", 8)
    async with open_door(server_tls) as opened:
        opened.listener.pause()
        talks = [await Talk.connect(opened.listener.port) for _ in range(40)]
        opened.listener.start()
        said = await asyncio.gather(*(talk.reply() for talk in talks))
        for talk in talks:
            await talk.close()
        refused = said.count(replies.OVERLOADED.decode())
        assert refused == 40 - 4 - 8
        assert sum(reply[:3] == "220" for reply in said) == 12
        assert opened.counts["limit_load"] == opened.counts["connections_refused"] == refused

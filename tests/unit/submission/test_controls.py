"""Controls of the cases L01 to L10 and F02: a part that holds a bound is broken on purpose, and the
check of that bound must notice. Each check here passes with the part as it is.
"""

from __future__ import annotations

import asyncio
import itertools

import pytest

from relay.submission import replies
from relay.submission.crowding import Crowding
from relay.submission.engine import Engine
from relay.submission.events import MessageGiven
from relay.submission.limits import Gate, GateLimits
from relay.submission.options import SessionLimits
from relay.submission.patience import Patience
from relay.submission.session import SubmissionSession
from relay.submission.tls import ServerTls
from relay.submission.verbs import VERBS
from tests.harness.smtp_talk import OPTIONS, Talk, open_door

BROKEN = pytest.mark.parametrize("broken", [False, True], ids=["as it is", "broken"])
START = b"EHLO c\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n"
CONTENT = b"Subject: x\r\n\r\none\r\n..two\r\n.\r\n"


@BROKEN
async def test_l01_the_oldest_stranger_makes_room(
    broken: bool, server_tls: ServerTls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it a customer who comes when all places are taken stays out."""
    if broken:
        monkeypatch.setattr(Gate, "make_room", lambda *_: False)
    async with open_door(server_tls, gate=GateLimits(connections=2)) as opened:
        crowd = [await opened.connect() for _ in range(2)]
        for session in opened.door.sessions:
            session.patience._began = opened.door.loop.time() - 6
        late = await Talk.connect(opened.listener.port)
        said = await late.reply()
        assert said == replies.TOO_BUSY.decode() if broken else said.startswith("220")
        for talk in (*crowd, late):
            await talk.close()


@BROKEN
async def test_l02_octets_of_a_command_buy_no_time(
    broken: bool, server_tls: ServerTls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If each octet counted as a sign of life, a dripping client would never be cut."""
    honest = SubmissionSession.data_received

    def data_received(self: SubmissionSession, data: bytes) -> None:
        honest(self, data)
        self.patience.active = self.door.loop.time() + 60

    if broken:
        monkeypatch.setattr(SubmissionSession, "data_received", data_received)
    async with open_door(server_tls) as opened:
        talk = await opened.at("greeted")
        (session,) = opened.door.sessions
        session.patience.active -= LONG_IDLE
        await talk.send([b"N"])
        other = await opened.at("greeted")  # by then the loop has read the octet
        said = session.patience.idle(opened.door.loop.time())
        assert said == (None if broken else replies.IDLE)
        await talk.close()
        await other.close()


LONG_IDLE = SessionLimits().idle + 1


def test_l02_slow_content_is_told_from_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate taken from the beginning on would let a client that was quick once loiter."""
    limits = SessionLimits()
    patience = Patience(limits, 0.0)
    patience.note_content_begins(0.0)
    assert patience.slow_content(60.0, 10_000_000) is None
    assert patience.slow_content(120.0, 10_000_000) == replies.TOO_SLOW
    monkeypatch.setattr(patience, "_octets", 0)  # the break
    assert patience.slow_content(180.0, 10_000_000) is None


@BROKEN
async def test_l03_content_of_all_together_is_bounded(
    broken: bool, server_tls: ServerTls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a gate that always has room the second mail comes in."""
    if broken:
        monkeypatch.setattr(Gate, "has_room", property(lambda _self: True))
    async with open_door(server_tls, gate=GateLimits(inflight=100_000)) as opened:
        opened.recorder.hold = asyncio.Event()
        first, second = await opened.at("data"), await opened.at("transaction")
        await first.send([(b"x" * 60 + b"\r\n") * 1800 + b".\r\n"])
        await opened.recorder.begun.wait()
        said = await second.say(b"DATA\r\n")
        assert said.startswith("354" if broken else "452 4.3.1")
        opened.recorder.hold.set()
        assert (await first.reply()).startswith("250")
        await first.close()
        await second.close()


@pytest.mark.long
@BROKEN
async def test_l05_who_reads_no_reply_is_not_read_on(
    broken: bool, server_tls: ServerTls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a full buffer held nothing back, replies to all commands would be kept in memory."""
    if broken:
        monkeypatch.setattr(SubmissionSession, "pause_writing", lambda _self: None)
        monkeypatch.setattr(SubmissionSession, "resume_writing", lambda _self: None)
    async with open_door(server_tls, junk=10**6) as opened:
        talk = await opened.connect()
        talk.writer.transport.pause_reading()  # type: ignore[attr-defined]
        (session,) = opened.door.sessions
        wire = session._wire
        count, bound = 600_000, 4_000_000  # the replies to all that is read at once are less
        async with talk.sending([b"HELP\r\n" * 1000] * (count // 1000)):
            other = await opened.at("logged")
            most = 0
            for _ in range(2000):
                await other.say(b"NOOP\r\n")
                transport = wire._transport
                most = max(most, transport.get_write_buffer_size() if transport else 0)
                if most > bound:
                    break
            assert (most > bound) is broken
            await other.close()
            session.cut()
        await talk.close()


@BROKEN
def test_l07_of_more_than_can_be_served_the_rest_goes(
    broken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it the queue grows for as long as more come than are served."""
    if broken:
        monkeypatch.setattr(Crowding, "too_many", lambda *_: 0)
    known, queue = Crowding(), 0
    for step in range(400):  # of 50 ms: 20 come, 10 are served
        queue += 10
        queue -= known.too_many(step * 0.05, 10, queue)
    assert (queue > 1000) is broken


def heard(chunks: list[bytes]) -> tuple[bytes, list[bytes]]:
    """Give the replies and the contents of a dialogue in which everything is accepted."""
    engine = Engine(OPTIONS, SessionLimits(error_delay=0.0), VERBS)
    engine.authenticated = True
    output, contents = b"", []
    for chunk in chunks:
        engine.feed(chunk)
        while (event := engine.next_event()) is not None:
            engine.answer(b"354 Go on" if "Content" in type(event).__name__ else b"250 2.0.0 Fine")
            if isinstance(event, MessageGiven):
                contents.append(event.content)
        output += engine.take_output()
    return output, contents


@BROKEN
def test_f02_chunks_make_no_difference(broken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that forgets the CR at the end of a chunk is found out by any cut."""
    honest = Engine.feed
    if broken:
        monkeypatch.setattr(
            Engine, "feed", lambda self, data: honest(self, data.removesuffix(b"\r"))
        )
    whole = heard([START, CONTENT])
    assert whole[1] == [b"Subject: x\r\n\r\none\r\n.two\r\n"]
    differ = [
        at for at in range(1, len(CONTENT)) if heard([START, CONTENT[:at], CONTENT[at:]]) != whole
    ]
    after_cr = [at for at, (one, _) in enumerate(itertools.pairwise(CONTENT), 1) if one == 13]
    assert differ == (after_cr if broken else [])

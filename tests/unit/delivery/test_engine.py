"""The engine alone: the same bytes give the same dialogue however they are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.delivery.engine import Engine
from relay.delivery.hello import Hello
from relay.delivery.outgoing import Problem, Stage
from relay.delivery.phases import Phase
from relay.delivery.replies import MAX_LINE, MAX_LINES, ReplyError, ReplyReader
from relay.delivery.transaction import Transaction
from tests.harness.outbound import CONTENT, mail_to

EHLO = b"250-mx.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n"


def ready(engine: Engine, ehlo: bytes = EHLO) -> None:
    """Bring an engine to the point where mail may go."""
    engine.receive(b"220 mx.test\r\n", 0.0)
    engine.receive(ehlo, 0.0)
    assert engine.phase is Phase.READY
    engine.out.clear()


def started() -> tuple[Engine, list[Transaction]]:
    """Give a ready engine with one mail on its way, and the list of finished ones."""
    engine = Engine(Hello(b"relay.test"))
    ready(engine)
    engine.begin(mail_to(), lambda transaction: None, 0.0)
    return engine, engine.finished


def test_the_envelope_is_one_group_and_content_waits_for_354() -> None:
    """RFC 2920: MAIL, RCPT and DATA together; the content only after 354."""
    engine, finished = started()
    assert b"".join(engine.out) == (
        b"MAIL FROM:<b+token@bounce.test>\r\nRCPT TO:<ann@inbox.test>\r\nDATA\r\n"
    )
    engine.out.clear()
    engine.receive(b"250 ok\r\n250 ok\r\n", 1.0)
    assert engine.out == []
    engine.receive(b"354 go\r\n", 1.0)
    assert b"".join(engine.out) == CONTENT + b".\r\n"
    engine.receive(b"250 queued\r\n", 2.0)
    assert finished[0].delivered
    assert finished[0].ended - finished[0].began == 2.0


def test_the_next_envelope_travels_with_the_content() -> None:
    """A mail begun while the first waits for 354 goes out right behind its content."""
    engine, finished = started()
    engine.begin(mail_to("bob@inbox.test"), lambda transaction: None, 0.0)
    assert not engine.has_room
    engine.out.clear()
    engine.receive(b"250 ok\r\n250 ok\r\n354 go\r\n", 1.0)
    wire = b"".join(engine.out)
    assert wire.startswith(CONTENT + b".\r\nMAIL FROM:")
    assert wire.endswith(b"<bob@inbox.test>\r\nDATA\r\n")
    engine.out.clear()
    engine.receive(b"250 queued\r\n250 ok\r\n250 ok\r\n354 go\r\n", 2.0)
    assert [t.delivered for t in finished] == [True]
    assert b"".join(engine.out) == CONTENT + b".\r\n"


def test_a_reply_before_its_command_is_out_of_step() -> None:
    """An answer to the final dot that comes with the 354 was not meant for it; nothing was sent."""
    engine, finished = started()
    engine.receive(b"250 ok\r\n250 ok\r\n354 go\r\n250 queued\r\n", 1.0)
    assert engine.phase is Phase.ENDED
    assert finished[0].problem is Problem.PROTOCOL
    assert not finished[0].ambiguous
    assert engine.out == []


def test_a_content_that_was_sent_stays_ambiguous_whatever_waits_behind_it() -> None:
    """The next envelope was not written yet when the connection broke; the content was."""
    engine, finished = started()
    engine.receive(b"250 ok\r\n250 ok\r\n354 go\r\n", 1.0)
    engine.unsent = None
    engine.out.clear()
    engine.begin(mail_to("bob@inbox.test"), lambda transaction: None, 1.0)
    assert engine.out
    engine.fail(Problem.LOST, "the connection was lost")
    assert [t.ambiguous for t in finished] == [True, False]


def test_a_refusal_is_void_when_the_dialogue_turns_out_shifted() -> None:
    """550 to MAIL, then 250 to DATA: the 550 was not about this mail."""
    engine, finished = started()
    engine.receive(b"550 5.1.1 stray\r\n250 ok\r\n250 ok\r\n", 1.0)
    assert finished[0].problem is Problem.PROTOCOL
    assert finished[0].reply is None


def test_a_refusal_stands_when_the_connection_is_lost_after_it() -> None:
    """The answer to RCPT was given in good order; what came later does not undo it."""
    engine, finished = started()
    engine.receive(b"250 ok\r\n550 5.1.1 unknown\r\n", 1.0)
    engine.fail(Problem.LOST, "the connection was lost")
    assert finished[0].problem is Problem.REFUSED
    assert finished[0].stage is Stage.RCPT


def test_a_refused_envelope_is_reset_before_the_next() -> None:
    """RSET travels in the group of the next envelope."""
    engine, _ = started()
    engine.receive(b"250 ok\r\n550 no\r\n503 no\r\n", 1.0)
    engine.out.clear()
    engine.begin(mail_to(), lambda transaction: None, 1.0)
    assert engine.out[0] == b"RSET\r\n"
    engine.receive(b"250 flushed\r\n250 ok\r\n250 ok\r\n354 go\r\n", 2.0)
    assert engine.awaited is Stage.DOT


def test_without_pipelining_mail_waits_for_the_answer_to_reset() -> None:
    """OpenSMTPD, which offers no PIPELINING, refuses whatever comes in one piece."""
    engine = Engine(Hello(b"relay.test"))
    finished = engine.finished
    ready(engine, b"250 mx.test\r\n")
    engine.begin(mail_to(), lambda transaction: None, 1.0)
    engine.receive(b"250 ok\r\n", 1.0)
    engine.receive(b"550 no\r\n", 1.0)
    assert [t.problem for t in finished] == [Problem.REFUSED]
    engine.out.clear()
    engine.begin(mail_to("bob@inbox.test"), lambda transaction: None, 1.0)
    assert engine.out == [b"RSET\r\n"]
    assert not engine.has_room
    engine.receive(b"250 flushed\r\n", 1.0)
    assert b"".join(engine.out).startswith(b"RSET\r\nMAIL FROM:")
    assert b"RCPT" not in b"".join(engine.out)
    engine.receive(b"250 ok\r\n", 1.0)
    engine.fail(Problem.LOST, "the connection was lost")
    assert [t.problem for t in finished] == [Problem.REFUSED, Problem.LOST]


@pytest.mark.parametrize("answer", [b"500 no\r\n", b"354 go\r\n", b"421 bye\r\n"])
def test_a_server_that_cannot_reset_is_left(answer: bytes) -> None:
    """After a refused RSET nobody knows what the next reply is about; the mail was not judged."""
    engine, finished = started()
    engine.receive(b"250 ok\r\n550 no\r\n503 no\r\n", 1.0)
    engine.begin(mail_to(), lambda transaction: None, 1.0)
    engine.receive(answer, 2.0)
    assert engine.phase is Phase.ENDED
    assert finished[1].problem is Problem.LOST
    assert not finished[1].touched


def test_quit_leaves_no_transaction_without_an_end() -> None:
    """Ended in the middle, a mail is told; ended idle, QUIT is said."""
    engine, finished = started()
    engine.quit()
    assert finished[0].problem is Problem.LOST
    idle = Engine(Hello(b"relay.test"))
    ready(idle)
    idle.quit()
    assert idle.out == [b"QUIT\r\n"]
    idle.quit()
    assert idle.out == [b"QUIT\r\n"]


DIALOGUE = (
    b"250 2.1.0 ok\r\n250-2.1.5 rcpt\r\n250 2.1.5 ok\r\n354 go\r\n",
    b"250-2.0.0 queued\r\n250 2.0.0 as 17\r\n550 no\r\n503 no\r\n503 no\r\n",
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 60), max_size=30))
def test_cuts_do_not_matter(cuts: list[int]) -> None:
    """Chunking invariance (F02): any split of the replies gives the same end."""

    def play(pieces: list[list[bytes]]) -> list[tuple[object, ...]]:
        engine, finished = started()
        for part in pieces[0]:
            engine.receive(part, 1.0)
        engine.begin(mail_to("bob@inbox.test"), lambda transaction: None, 1.0)
        for part in pieces[1]:
            engine.receive(part, 1.0)
        return [(t.stage, t.problem, t.reply.raw if t.reply else b"") for t in finished]

    def cut(data: bytes) -> list[bytes]:
        marks = sorted({mark % len(data) for mark in cuts} | {0, len(data)})
        return [data[a:b] for a, b in pairwise(marks)]

    whole = play([[part] for part in DIALOGUE])
    assert [end[1] for end in whole] == [None, Problem.REFUSED]
    assert play([cut(part) for part in DIALOGUE]) == whole


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.binary(max_size=40) | st.sampled_from([b"250 ok\r\n", b"354 go\r\n", b"550 no\r\n"])
    )
)
def test_any_bytes_give_an_end_and_no_exception(chunks: list[bytes]) -> None:
    """Nothing that a server sends raises; every transaction ends exactly once."""
    engine, finished = started()
    for chunk in chunks:
        engine.receive(chunk, 1.0)
        if engine.has_room and len(finished) < 5:
            engine.begin(mail_to(), lambda transaction: None, 1.0)
    begun = engine.sent
    engine.fail(Problem.LOST, "end of test")
    assert len(finished) == begun
    assert len(set(map(id, finished))) == begun


@pytest.mark.parametrize(
    "data",
    [b"x" * (MAX_LINE + 3), b"250-x\r\n" * (MAX_LINES + 1), b"250-" + b"x" * 2000 + b"\r\n"],
)
def test_the_reader_keeps_within_its_bounds(data: bytes) -> None:
    """Whatever comes in pieces, what is kept stays below line and reply limits."""
    reader = ReplyReader()

    def feed() -> None:
        for _ in range(200):
            for at in range(0, len(data), 1000):
                reader.feed(data[at : at + 1000])

    with pytest.raises(ReplyError):
        feed()

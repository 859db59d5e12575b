"""The dialogue without I/O: the same however the input is cut, bounded, never out of step."""

from __future__ import annotations

import base64
import random
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.submission import events
from relay.submission.engine import Engine
from relay.submission.options import SessionLimits, SessionOptions
from relay.submission.states import EngineError, State
from relay.submission.verbs import VERBS

OPTIONS = SessionOptions(hostname="relay.test", auth_needs_tls=False)
OPEN = replace(OPTIONS, auth_required=False)
LIMITS = SessionLimits(error_delay=0.0)
PLAIN = b"AUTH PLAIN " + base64.b64encode(b"\0bob\0secret") + b"\r\n"
START = b"EHLO c.test\r\n"
MAIL = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n"

ANSWERS: dict[type, bytes] = {
    events.LoginTried: b"235 2.7.0 Welcome",
    events.SenderGiven: b"250 2.1.0 Sender",
    events.RecipientGiven: b"250 2.1.5 Recipient",
    events.ContentWanted: b"354 Go on",
    events.MessageGiven: b"250 2.0.0 Taken",
}


class Played:
    """An engine with somebody who says yes to everything, and what was seen."""

    def __init__(
        self,
        options: SessionOptions = OPEN,
        limits: SessionLimits = LIMITS,
        *,
        tls_possible: bool = False,
    ) -> None:
        self.engine = Engine(options, limits, VERBS, tls_possible=tls_possible)
        self.output = b""
        self.events: list[events.Event] = []

    def play(self, *chunks: bytes) -> list[bytes]:
        """Feed chunks; the replies to them."""
        before = len(self.output)
        for chunk in chunks:
            self.engine.feed(chunk)
            while (event := self.engine.next_event()) is not None:
                self.events.append(event)
                if isinstance(event, events.TlsWanted):
                    self.engine.tls_started()
                elif isinstance(event, events.Penalty):
                    self.engine.resume()
                else:
                    self.engine.answer(ANSWERS[type(event)])
            self.output += self.engine.take_output()
        return self.output[before:].split(b"\r\n")[:-1]

    def contents(self) -> list[bytes]:
        return [e.content for e in self.events if isinstance(e, events.MessageGiven)]


def codes(replies: list[bytes]) -> list[bytes]:
    return [reply[:9] for reply in replies]


# What a client may say, good and bad, in pieces that make sense in any order.
PIECES = [
    START,
    b"HELO c.test\r\n",
    b"EHLO bad name\r\n",
    b"MAIL FROM:<a@b.test>\r\n",
    b"MAIL FROM:<> SIZE=10 BODY=8BITMIME\r\n",
    b"MAIL FROM:<a@b\r\n",
    b"RCPT TO:<c@d.test>\r\n",
    b"RCPT TO:<e@f.test> NOTIFY=NEVER\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"NOOP\n",
    b"NO\rOP\r\n",
    b"\r\n",
    b"XYZZY\r\n",
    b"QUIT\r\n",
    b"AUTH PLAIN\r\n",
    b"AUTH LOGIN Ym9i\r\n",
    b"AUTH PLAIN =\r\n",
    PLAIN,
    b"*\r\n",
    b"Ym9i\r\n",
    b"VRFY x\r\n",
    b"STARTTLS now\r\n",
    b"NOOP " + b"a" * 600 + b"\r\n",
    b"AUTH PLAIN " + b"A" * 13_000 + b"\r\n",
    b"Z" * 14_000 + b"\n",
    b"BDAT 3 LAST\r\n",
    b"\x16\x03\x01",
]
BODIES = [
    b"\r\n.\r\n",
    b".\r\n",
    b"Subject: x\r\n\r\n..\r\n.x\r\nend\r\n.\r\n",
    b"a\n.\nb\r\n.\r\n",
    b"a\r.\rb\r\n.\r\r\n\r\n.\r\n",
    b"x" * 1200 + b"\r\n.\r\n",
    b"..\r\n" * 200 + b".\r\n",
    b"a\0b\r\n.\r\n",
]
WHOLE = START + MAIL + b"DATA\r\n"


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    """Turns of a client; DATA ends a turn, because a client has to wait for 354."""
    turns, turn = [], b""
    for _ in range(draw(st.integers(1, 12))):
        if draw(st.integers(0, 3)):
            turn += draw(st.sampled_from(PIECES))
        else:
            turns += [turn + WHOLE, draw(st.sampled_from(BODIES))]
            turn = b""
    return [*turns, turn]


def cut(data: bytes, dice: random.Random) -> list[bytes]:
    chunks, at = [], 0
    while at < len(data):
        size = dice.choice((1, 1, 2, 3, 7, 40, 1000, 20_000))
        chunks.append(data[at : at + size])
        at += size
    return chunks


@settings(max_examples=150, deadline=None)
@given(conversations(), st.integers(0, 2**32))
def test_chunking_changes_nothing(turns: list[bytes], seed: int) -> None:
    whole, pieces = Played(OPTIONS), Played(OPTIONS)
    dice = random.Random(seed)  # noqa: S311 - chunk sizes, not secrets
    for turn in turns:
        whole.play(turn)
        pieces.play(*cut(turn, dice))
    assert pieces.output == whole.output
    assert pieces.events == whole.events
    assert pieces.engine.state is whole.engine.state


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=60) | st.sampled_from(PIECES + BODIES + [WHOLE]), max_size=15))
def test_any_bytes_give_replies_and_nothing_else(chunks: list[bytes]) -> None:
    played = Played(OPEN)
    for reply in played.play(*chunks):
        assert reply[:3].isdigit()
        assert reply[3:4] in b" -"
        assert reply.isascii()
        assert len(reply) <= 510
        if reply[:1] in b"45":
            assert reply[4:5] == reply[:1]  # the class of the enhanced code is that of the reply
    for content in played.contents():
        assert b"\r" not in content.replace(b"\r\n", b"")
        assert b"\n" not in content.replace(b"\r\n", b"")


def test_replies_of_a_batch_come_in_one_piece() -> None:
    played = Played()
    played.play(START)
    played.engine.feed(MAIL + b"DATA\r\n")
    while (event := played.engine.next_event()) is not None:
        played.engine.answer(ANSWERS[type(event)])
    assert played.engine.take_output().count(b"\r\n") == 3


def test_message_and_the_next_command_in_one_chunk() -> None:
    played = Played()
    played.play(WHOLE)
    assert codes(played.play(b"one\r\n.\r\n" + MAIL + b"RSET\r\nQUIT\r\n")) == [
        b"250 2.0.0",
        b"250 2.1.0",
        b"250 2.1.5",
        b"250 2.0.0",
        b"221 2.0.0",
    ]
    assert played.contents() == [b"one\r\n"]


def test_ehlo_announces_what_is_offered() -> None:
    plain = Played(SessionOptions(hostname="relay.test"), tls_possible=True)
    lines = {line[4:] for line in plain.play(START)}
    assert lines == {
        b"relay.test",
        b"PIPELINING",
        b"SIZE 26214400",
        b"8BITMIME",
        b"ENHANCEDSTATUSCODES",
        b"LIMITS MAILMAX=1000 RCPTMAX=1000",
        b"SMTPUTF8",
        b"DSN",
        b"STARTTLS",
        b"HELP",
    }
    plain.engine.tls = True
    assert lines ^ {line[4:] for line in plain.play(START)} == {b"STARTTLS", b"AUTH PLAIN LOGIN"}


def test_password_in_plain_text_is_refused_where_tls_is_needed() -> None:
    played = Played(SessionOptions(hostname="relay.test"), tls_possible=True)
    played.play(START)
    assert codes(played.play(PLAIN)) == [b"538 5.7.1"]
    assert codes(played.play(b"MAIL FROM:<a@b>\r\n")) == [b"530 5.7.0"]


def test_starttls_can_be_required() -> None:
    options = replace(OPEN, starttls_required=True)
    played = Played(options, tls_possible=True)
    assert codes(played.play(START + b"MAIL FROM:<a@b>\r\n"))[-1] == b"530 5.7.0"
    replies = played.play(b"STARTTLS\r\n") + played.play(START + b"MAIL FROM:<a@b>\r\n")
    assert codes(replies)[-1] == b"250 2.1.0"


def test_nothing_said_before_tls_counts_after_it() -> None:
    played = Played(OPTIONS, tls_possible=True)
    assert codes(played.play(START + PLAIN + MAIL))[-2:] == [b"250 2.1.0", b"250 2.1.5"]
    assert played.play(b"STARTTLS\r\nRSET\r\nNOOP\r\n") == [b"220 2.0.0 Ready to start TLS"]
    assert not played.engine.authenticated
    assert codes(played.play(b"DATA\r\nMAIL FROM:<a@b>\r\n")) == [b"503 5.5.1", b"503 5.5.1"]
    assert codes(played.play(START + b"MAIL FROM:<a@b>\r\n"))[-1] == b"530 5.7.0"


def test_what_came_within_tls_counts_even_before_the_handshake_is_reported() -> None:
    engine = Engine(OPTIONS, LIMITS, VERBS, tls_possible=True)
    engine.feed(b"STARTTLS\r\nRSET\r\n")
    assert isinstance(engine.next_event(), events.TlsWanted)
    engine.take_output()
    engine.feed(b"NOOP\r\n")
    engine.tls_started()
    assert engine.next_event() is None
    assert engine.take_output() == b"250 2.0.0 OK\r\n"


def test_parameters_are_kept_byte_for_byte() -> None:
    played = Played()
    played.play(
        START
        + b"mail from:<a@b> RET=hdrs ENVID=Ab+2Bc body=8bitmime size=99 SMTPUTF8 AUTH=x+40y\r\n"
        + b"rcpt to:<c@d> notify=success,Delay ORCPT=rfc822;A+40b\r\n"
        + "RCPT TO:<é@d> ORCPT=utf-8;é@d\r\n".encode()
    )
    sender, one, two = played.events
    assert isinstance(sender, events.SenderGiven)
    assert sender.parameters == events.SenderParameters(
        size=99, eightbit=True, smtputf8=True, ret="HDRS", envid=b"Ab+2Bc", auth=b"x+40y"
    )
    assert isinstance(one, events.RecipientGiven)
    assert (one.recipient.notify, one.recipient.orcpt) == ("SUCCESS,DELAY", b"rfc822;A+40b")
    assert isinstance(two, events.RecipientGiven)
    assert two.recipient.orcpt == "utf-8;é@d".encode()


def test_utf8_recipient_needs_the_parameter_of_this_transaction() -> None:
    played = Played()
    rcpt = "RCPT TO:<é@d>\r\n".encode()
    played.play(START + b"MAIL FROM:<a@b> SMTPUTF8\r\n")
    assert codes(played.play(rcpt)) == [b"250 2.1.5"]
    played.play(b"RSET\r\nMAIL FROM:<a@b>\r\n")
    assert codes(played.play(rcpt)) == [b"553 5.6.7"]


def test_parameters_need_ehlo_and_an_offer() -> None:
    played = Played(replace(OPEN, dsn=False, smtputf8=False))
    played.play(b"HELO c.test\r\n")
    assert codes(played.play(b"MAIL FROM:<a@b> SIZE=1\r\n")) == [b"555 5.5.4"]
    played.play(START)
    for parameter in (b"RET=FULL", b"ENVID=x", b"SMTPUTF8", b"MT-PRIORITY=3", b"HOLDFOR=60"):
        assert codes(played.play(b"MAIL FROM:<a@b> " + parameter + b"\r\n")) == [b"555 5.5.4"]


def test_recipients_beyond_the_limit_wait_and_the_earlier_stay() -> None:
    played = Played(limits=replace(LIMITS, recipients=3))
    rcpts = [b"RCPT TO:<a%d@b>\r\n" % number for number in range(5)]
    played.play(START + b"MAIL FROM:<a@b>\r\n")
    replies = codes(played.play(*rcpts))
    assert replies == [b"250 2.1.5"] * 3 + [b"452 4.5.3"] * 2
    assert played.engine.recipients == 3
    played.play(b"DATA\r\n")
    assert codes(played.play(b"x\r\n.\r\n")) == [b"250 2.0.0"]


def test_messages_on_a_connection_are_limited() -> None:
    played = Played(limits=replace(LIMITS, messages=2))
    played.play(START)
    for _ in range(2):
        played.play(MAIL + b"DATA\r\n", b"x\r\n.\r\n")
    assert codes(played.play(MAIL)) == [b"421 4.7.0"]
    assert played.engine.state is State.CLOSED


def test_errors_are_delayed_first_and_end_the_connection_then() -> None:
    played = Played(limits=replace(LIMITS, errors_soft=3, errors_hard=5, error_delay=1.0))
    assert codes(played.play(b"X\r\n" * 9)) == [b"500 5.5.1"] * 5 + [b"421 4.7.0"]
    assert played.events == [events.Penalty(seconds=1.0)] * 2


def test_a_message_refills_the_budgets() -> None:
    played = Played(limits=replace(LIMITS, errors_hard=5, junk=5))
    played.play(START)
    for _ in range(4):
        played.play(b"X\r\n" * 3 + b"NOOP\r\n" * 3 + MAIL + b"DATA\r\n", b"x\r\n.\r\n")
    assert played.engine.state is State.COMMAND


def test_refused_recipients_use_up_the_budget_only_where_nobody_logs_in() -> None:
    for counted, expected in ((True, State.CLOSED), (False, State.COMMAND)):
        engine = Engine(replace(OPEN, count_refusals=counted), LIMITS, VERBS)
        engine.feed(START + b"MAIL FROM:<a@b>\r\n" + b"RCPT TO:<x@y>\r\n" * 30)
        while (event := engine.next_event()) is not None:
            sender = isinstance(event, events.SenderGiven)
            engine.answer(b"250 2.1.0 Fine" if sender else b"550 5.1.1 Nobody")
        assert engine.state is expected


def refusing(data: bytes, size: int, *, counted: bool = False) -> Engine:
    """Give an engine that was fed in chunks of this size and whose MAIL was always refused."""
    limits = replace(LIMITS, recipients=100)
    engine = Engine(replace(OPEN, count_refusals=counted), limits, VERBS)
    for at in range(0, len(data), size):
        engine.feed(data[at : at + size])
        while engine.next_event() is not None:
            engine.answer(b"452 4.3.1 No room")
    return engine


GROUP = b"MAIL FROM:<a@b.test>\r\n" + b"RCPT TO:<c@d.test>\r\n" * 100 + b"DATA\r\n"


@pytest.mark.parametrize("size", [7, 1460, 65_536])
@pytest.mark.parametrize("counted", [False, True])
def test_what_is_pipelined_behind_a_refused_mail_is_charged_once(size: int, counted: bool) -> None:
    engine = refusing(START + GROUP * 3, size, counted=counted)
    assert engine.errors == 3 * (2 if counted else 1)
    assert engine.take_output().count(b"503 5.5.1") == 3 * 101
    assert not engine.closed


def test_behind_a_mail_that_is_no_mail_it_is_the_same() -> None:
    assert refusing(START + GROUP.replace(b"FROM", b"FORM"), 99).errors == 2


@pytest.mark.parametrize(
    "data",
    [
        GROUP + b"RCPT TO:<c@d.test>\r\n" * 19,  # more than any message has
        GROUP[:42] + b"RSET\r\n" + b"DATA\r\n" * 20,  # known by now
        b"RCPT TO:<c@d.test>\r\n" * 20,
    ],
)
def test_other_commands_without_a_sender_are_charged_each(data: bytes) -> None:
    assert refusing(START + data, 65_536).closed


def test_a_customers_bad_recipients_are_no_errors_of_the_dialogue() -> None:
    for options, login, expected in ((OPTIONS, PLAIN, 60), (OPEN, b"", 21)):
        played = Played(options)
        played.play(START + login + b"MAIL FROM:<a@b>\r\n")
        assert len(played.play(b"RCPT TO:<a@b@c>\r\n" * 60)) == expected


def test_stress_leaves_no_patience() -> None:
    played = Played(limits=SessionLimits().stressed())
    assert codes(played.play(b"X\r\nNOOP\r\n")) == [b"500 5.5.1", b"421 4.7.0"]


def test_retiring_waits_for_the_message() -> None:
    played = Played()
    played.play(START + MAIL)
    played.engine.retire(b"421 4.3.2 Bye")
    assert played.play() == []
    assert codes(played.play(b"DATA\r\n")) == [b"421 4.3.2"]

    played = Played()
    played.play(WHOLE)
    played.engine.retire(b"421 4.3.2 Bye")
    assert codes(played.play(b"x\r\n.\r\n")) == [b"250 2.0.0", b"421 4.3.2"]
    assert played.contents() == [b"x\r\n"]

    played = Played()
    played.play(START)
    played.engine.retire(b"421 4.3.2 Bye")
    assert played.engine.take_output() == b"421 4.3.2 Bye\r\n"
    assert played.engine.closed


def test_refused_data_leaves_the_transaction() -> None:
    engine = Engine(OPEN, LIMITS, VERBS)
    engine.feed(START + MAIL + b"DATA\r\n")
    while (event := engine.next_event()) is not None:
        wanted = isinstance(event, events.ContentWanted)
        engine.answer(b"452 4.3.1 Full" if wanted else b"250 2.1.0 Fine")
    assert engine.in_transaction
    assert engine.state is State.COMMAND


def test_wrong_answers_are_bugs_and_raise() -> None:
    engine = Engine(OPEN, LIMITS, VERBS, tls_possible=True)
    with pytest.raises(EngineError):
        engine.answer(b"250 2.0.0 What?")
    with pytest.raises(EngineError):
        engine.tls_started()
    with pytest.raises(EngineError):
        engine.resume()
    engine.feed(b"STARTTLS\r\n")
    assert isinstance(engine.next_event(), events.TlsWanted)
    with pytest.raises(EngineError):
        engine.answer(b"250 2.0.0 What?")


def test_a_closed_engine_takes_nothing() -> None:
    played = Played()
    played.play(b"QUIT\r\n")
    assert played.play(b"NOOP\r\n", b"x" * 100_000) == []
    assert played.engine.buffered == 0


def test_memory_stays_flat_for_an_endless_line() -> None:
    played = Played()
    tracemalloc.start()
    for _ in range(30):
        played.play(b"a" * 65_536)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 400_000
    assert played.engine.buffered < 100_000


def test_memory_for_content_is_its_size() -> None:
    # Eight megabytes of empty lines: an object per line would take twenty times as much.
    played = Played(limits=replace(LIMITS, message=10_000_000))
    played.play(WHOLE)
    tracemalloc.start()
    for _ in range(128):
        played.play(b"\r\n" * 32_768)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * 8_388_608
    played.play(b".\r\n")
    assert len(played.contents()[0]) == 8_388_608


def test_content_beyond_the_limit_is_cut() -> None:
    played = Played(limits=replace(LIMITS, message=10_000, message_slack=1_000))
    played.play(WHOLE)
    assert played.play(b"x" * 11_000) == []
    assert codes(played.play(b"x")) == [b"552 5.3.4"]
    assert played.engine.closed
    assert played.engine.buffered == 0


def test_login_shows_no_password() -> None:
    played = Played(OPTIONS)
    played.play(START + PLAIN)
    assert "secret" not in repr(played.events)

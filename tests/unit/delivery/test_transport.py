"""The door of delivery against a real server whose failures are data."""

from __future__ import annotations

import pytest

from relay.delivery.outgoing import Problem, Stage, Verdict
from relay.delivery.transport import Transport
from tests.harness.outbound import Jobs, MakeTransport, mail_to, route_to
from tests.harness.scripted_mx import Act, Answer, ScriptedMx


async def test_one_mail_arrives_as_it_is(transport: Transport) -> None:
    """The content at the server is the content given, dots and all."""
    content = b".first\r\n\r\n..two\r\n.\r\nend without line end"
    async with ScriptedMx() as mx:
        outcome = await transport.deliver(route_to(mx), lambda: mail_to(content=content))

    assert outcome.verdict is Verdict.DELIVERED
    assert str(outcome.reply) == "250 2.0.0 queued"
    assert (outcome.host, outcome.address) == ("127.0.0.1", "127.0.0.1")
    [received] = mx.messages
    assert received.content == content + b"\r\n"
    assert received.sender == b"b+token@bounce.test"
    assert received.recipients == (b"ann@inbox.test",)
    assert mx.early == []


async def test_many_mails_share_one_connection(transport: Transport) -> None:
    """A lane sends all its mails over one connection, in order."""
    jobs = Jobs([mail_to(f"r{n}@inbox.test", delivery=n) for n in range(50)])
    async with ScriptedMx() as mx:
        await transport.run(route_to(mx), jobs.take)

        assert mx.sessions == 1
        assert [o.delivery for o in jobs.outcomes] == list(range(50))
        assert {o.verdict for o in jobs.outcomes} == {Verdict.DELIVERED}
        assert [m.recipients[0] for m in mx.messages] == [b"r%d@inbox.test" % n for n in range(50)]
        assert mx.early == []


@pytest.mark.parametrize("extensions", [(), ("PIPELINING",)])
async def test_a_session_that_had_its_share_of_mails_is_left(
    transport: Transport, extensions: tuple[str, ...]
) -> None:
    """OpenSMTPD takes 100 mails and says 452 to every further one: nobody's mail is put off."""
    jobs = Jobs([mail_to(f"r{n}@inbox.test", delivery=n) for n in range(7)])
    full = "452 4.5.3 Too many messages sent"
    async with ScriptedMx(extensions=extensions) as mx:
        mx.answer(mail=[*["250 ok"] * 3, full, *["250 ok"] * 3, full])
        await transport.run(route_to(mx), jobs.take)
    assert {o.verdict for o in jobs.outcomes} == {Verdict.DELIVERED}
    assert len({m.recipients for m in mx.messages}) == len(mx.messages) == 7
    assert mx.sessions == 3


async def test_a_452_before_anything_was_taken_is_about_the_mail(transport: Transport) -> None:
    jobs = Jobs([mail_to(f"r{n}@inbox.test", delivery=n) for n in range(4)])
    async with ScriptedMx() as mx:
        mx.answer(mail=["452 4.3.1 disk full"] * 4)
        await transport.run(route_to(mx), jobs.take)
    assert {o.verdict for o in jobs.outcomes} == {Verdict.RETRY}
    assert mx.sessions == 1


async def test_the_next_call_finds_the_connection_again(transport: Transport) -> None:
    """An idle connection is used again."""
    async with ScriptedMx() as mx:
        await transport.deliver(route_to(mx), mail_to)
        await transport.deliver(route_to(mx), mail_to)
    assert (mx.sessions, len(mx.messages)) == (1, 2)


async def test_a_refused_recipient_does_not_disturb_the_others(transport: Transport) -> None:
    """S03 for a relay that sends one transaction per delivery."""
    names = ["ann", "full", "bob", "gone", "eve"]
    jobs = Jobs([mail_to(f"{name}@inbox.test") for name in names])
    async with ScriptedMx() as mx:
        mx.answer_recipients(
            {
                "full@inbox.test": "452 4.2.2 mailbox full",
                "gone@inbox.test": "550 5.1.1 no such user",
            }
        )
        await transport.run(route_to(mx), jobs.take)

    got = {o.log.steps[0][2].split(b"TO:<")[1].split(b"@")[0]: o for o in jobs.outcomes if o.log}
    assert {name.decode(): o.verdict.value for name, o in got.items()} == {
        "ann": "delivered",
        "full": "retry",
        "bob": "delivered",
        "gone": "bounced",
        "eve": "delivered",
    }
    assert got[b"gone"].stage is Stage.RCPT
    assert got[b"gone"].text == "550 5.1.1 no such user"
    assert [m.recipients for m in mx.messages] == [
        (b"ann@inbox.test",),
        (b"bob@inbox.test",),
        (b"eve@inbox.test",),
    ]
    assert mx.sessions == 1


REFUSALS = [
    ("banner", "451 4.3.0 later", Verdict.RETRY, Stage.GREETING),
    ("banner", "554 5.7.1 go away", Verdict.RETRY, Stage.GREETING),
    ("banner", "521 5.3.2 no mail here", Verdict.BOUNCED, Stage.GREETING),
    ("ehlo", "451 4.3.0 later", Verdict.RETRY, Stage.EHLO),
    ("mail", "451 4.3.0 later", Verdict.RETRY, Stage.MAIL),
    ("mail", "550 5.7.1 not you", Verdict.BOUNCED, Stage.MAIL),
    ("rcpt", "450 4.2.0 greylisted", Verdict.RETRY, Stage.RCPT),
    ("rcpt", "550 5.1.1 unknown", Verdict.BOUNCED, Stage.RCPT),
    ("data", "451 4.3.0 later", Verdict.RETRY, Stage.DATA),
    ("data", "554 5.6.0 no", Verdict.BOUNCED, Stage.DATA),
    ("dot", "452 4.3.1 disk", Verdict.RETRY, Stage.DOT),
    ("dot", "554 5.7.1 spam", Verdict.BOUNCED, Stage.DOT),
]


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize(("stage", "answer", "verdict", "at"), REFUSALS)
async def test_a_refusal_at_every_stage(
    transport: Transport, stage: str, answer: str, verdict: Verdict, at: Stage, *, pipelining: bool
) -> None:
    """S01 and S02: the reply is told as it was said, at the stage it was said."""
    offers = ("PIPELINING",) if pipelining else ()
    async with ScriptedMx(extensions=offers) as mx:
        mx.answer(**{stage: answer})
        outcome = await transport.deliver(route_to(mx), mail_to)
        after = await transport.deliver(route_to(mx), mail_to)

    assert (outcome.verdict, outcome.stage) == (verdict, at)
    assert str(outcome.reply) == answer
    assert not outcome.ambiguous
    assert after.verdict is Verdict.DELIVERED  # nobody else suffers
    assert len([m for m in mx.messages if m.accepted]) == 1


@pytest.mark.parametrize("stage", ["banner", "ehlo", "mail", "rcpt", "data", "dot"])
async def test_421_at_every_stage_is_the_hosts_fault(transport: Transport, stage: str) -> None:
    """S10: put off, connection closed, and not held against the message."""
    async with ScriptedMx() as mx:
        mx.answer(**{stage: "421 4.3.2 shutting down"})
        outcome = await transport.deliver(route_to(mx), mail_to)
        assert (outcome.verdict, outcome.code) == (Verdict.RETRY, 421)
        assert outcome.hosts_fault
        assert outcome.destination == "slow-down"
        after = await transport.deliver(route_to(mx), mail_to)
    assert after.verdict is Verdict.DELIVERED
    assert mx.sessions == 2


LOST = [
    ("banner", Act.DROP, Stage.GREETING, False),
    ("ehlo", Act.DROP, Stage.EHLO, False),
    ("mail", [Act.DROP] * 3, Stage.MAIL, False),
    ("rcpt", Act.DROP, Stage.RCPT, False),
    ("data", Act.DROP, Stage.DATA, False),
    ("dot", Act.DROP, Stage.DOT, True),
    ("banner", Act.RESET, Stage.GREETING, False),
    ("rcpt", Act.RESET, Stage.RCPT, False),
    ("dot", Act.RESET, Stage.DOT, True),
]


@pytest.mark.parametrize(("stage", "act", "at", "ambiguous"), LOST)
async def test_a_lost_connection(
    transport: Transport, stage: str, act: Answer | list[Answer], at: Stage, *, ambiguous: bool
) -> None:
    """S06 and S09: only a connection lost after the final dot is ambiguous."""
    async with ScriptedMx() as mx:
        mx.answer(**{stage: act})
        outcome = await transport.deliver(route_to(mx), mail_to)

    assert (outcome.verdict, outcome.problem) == (Verdict.RETRY, Problem.LOST)
    assert (outcome.stage, outcome.ambiguous) == (at, ambiguous)
    assert outcome.enhanced == "4.4.2"


async def test_a_connection_dropped_before_the_dot_was_read_is_not_ambiguous(
    transport: Transport,
) -> None:
    """S05: the kernel did not take all of the content, so the end of it was not sent."""
    big = CONTENT_16_MIB
    async with ScriptedMx(extensions=("PIPELINING",)) as mx:
        mx.answer(content=Act.RESET)
        outcome = await transport.deliver(route_to(mx), lambda: mail_to(content=big))
    assert (outcome.verdict, outcome.stage) == (Verdict.RETRY, Stage.DOT)
    assert not outcome.ambiguous


CONTENT_16_MIB = b"Subject: big\r\n\r\n" + (b"x" * 70 + b"\r\n") * 233_000


@pytest.mark.parametrize(
    ("stage", "at"),
    [
        ("banner", Stage.GREETING),
        ("ehlo", Stage.EHLO),
        ("mail", Stage.MAIL),
        ("rcpt", Stage.RCPT),
        ("data", Stage.DATA),
        ("dot", Stage.DOT),
    ],
)
@pytest.mark.parametrize("act", [Act.STALL, Act.DRIP])
async def test_silence_ends(make_transport: MakeTransport, stage: str, at: Stage, act: Act) -> None:
    """S07 and R01 in small: no answer, or one byte at a time, costs the stage's limit, no more."""
    transport = make_transport(seconds={at: 0.05})
    async with ScriptedMx() as mx:
        mx.answer(**{stage: act})
        outcome = await transport.deliver(route_to(mx), mail_to)
    assert (outcome.verdict, outcome.problem) == (Verdict.RETRY, Problem.TIMEOUT)
    assert (outcome.stage, outcome.ambiguous) == (at, stage == "dot")


async def test_a_server_that_closed_an_idle_connection_is_not_noticed(
    transport: Transport,
) -> None:
    """A mail that nobody has looked at moves to a fresh connection."""
    async with ScriptedMx() as mx:
        await transport.deliver(route_to(mx), mail_to)
        mx.answer(mail=Act.DROP)
        outcome = await transport.deliver(route_to(mx), mail_to)
    assert outcome.verdict is Verdict.DELIVERED
    assert mx.sessions == 2
    assert len(mx.messages) == 2


async def test_nobody_listens(make_transport: MakeTransport) -> None:
    """A refused connection is an outcome; the mail is not even made."""
    async with ScriptedMx() as mx:
        route = route_to(mx)

    def make() -> None:
        raise AssertionError("the mail was made although there is no connection")

    transport = make_transport()
    outcome = await transport.deliver(route, make, delivery=7)  # type: ignore[arg-type]
    assert (outcome.delivery, outcome.verdict) == (7, Verdict.RETRY)
    assert (outcome.problem, outcome.stage) == (Problem.UNREACHABLE, Stage.CONNECT)
    assert outcome.enhanced == "4.4.1"

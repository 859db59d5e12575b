"""Attempts with the real classifier: what is said of a failure, what becomes of a mail in hand."""

from __future__ import annotations

import asyncio

import pytest

from bounces.classify import classify
from relay.delivery.outgoing import Outcome, Outgoing, Problem, Stage, Verdict
from relay.delivery.pool import PoolLimits
from relay.delivery.route import NoHostsError, Route
from relay.delivery.transport import Transport
from tests.harness.outbound import Jobs, MakeTransport, OneJob, mail_to, route_to
from tests.harness.scripted_mx import Act, Answer, ScriptedMx

REPLIES = [
    ("rcpt", "550 5.1.1 <ann@inbox.test>: user unknown", Verdict.BOUNCED, "hard", "ok"),
    ("rcpt", "452 4.2.2 mailbox full", Verdict.RETRY, "soft", "ok"),
    ("dot", "554 5.7.1 message looks like spam", Verdict.BOUNCED, "soft", "slow-down"),
    ("rcpt", "450 4.2.0 greylisted, try again in 5 minutes", Verdict.RETRY, "soft", "ok"),
    ("rcpt", "421 4.7.0 too many messages, slow down", Verdict.RETRY, "soft", "slow-down"),
]


@pytest.mark.parametrize(("stage", "text", "verdict", "category", "destination"), REPLIES)
async def test_the_classifier_speaks_in_the_outcome(
    make_transport: MakeTransport,
    stage: str,
    text: str,
    verdict: Verdict,
    category: str,
    destination: str,
) -> None:
    """Category, and what the destination deserves, come from `bounces`."""
    transport = make_transport(classify=classify)
    async with ScriptedMx() as mx:
        mx.answer(**{stage: text})
        outcome = await transport.deliver(route_to(mx), mail_to)
    assert outcome.verdict is verdict
    assert outcome.judgement is not None
    assert outcome.judgement.category == category
    assert outcome.destination == destination


class _Nowhere:
    def __init__(self, error: NoHostsError) -> None:
        self.error = error

    async def targets(self, route: Route) -> list[object]:
        raise self.error


@pytest.mark.parametrize(
    ("enhanced", "text", "category"),
    [
        ("5.1.2", "DNS has no domain inbox.test (NXDOMAIN)", "hard"),
        ("5.1.10", "inbox.test says that it accepts no mail (null MX)", "hard"),
    ],
)
async def test_what_we_find_ourselves_is_judged_too(
    make_transport: MakeTransport, enhanced: str, text: str, category: str
) -> None:
    """A domain that does not exist is a hard bounce although nobody said so over SMTP."""
    hosts = _Nowhere(NoHostsError(enhanced, text, permanent=True))
    transport = make_transport(classify=classify, hosts=hosts)
    outcome = await transport.deliver(Route(destination="inbox.test"), mail_to, delivery=3)
    assert (outcome.delivery, outcome.verdict) == (3, Verdict.BOUNCED)
    assert outcome.judgement is not None
    assert outcome.judgement.category == category
    assert outcome.text == f"{enhanced} {text}"


async def test_a_mail_that_cannot_be_made_leaves_the_connection_as_it_was(
    transport: Transport,
) -> None:
    """What `make` raises goes to the caller; the next mail finds the connection."""

    def broken() -> Outgoing:
        raise ValueError("broken template")

    async with ScriptedMx() as mx:
        await transport.deliver(route_to(mx), mail_to)
        with pytest.raises(ValueError, match="broken template"):
            await transport.deliver(route_to(mx), broken)
        again = await transport.deliver(route_to(mx), mail_to)
    assert again.verdict is Verdict.DELIVERED
    assert (len(mx.messages), mx.sessions) == (2, 1)


async def test_a_mail_that_cannot_be_made_does_not_harm_the_one_before(
    transport: Transport,
) -> None:
    """The lane ends with the error, but only after the mail on its way has its outcome."""
    jobs = Jobs([mail_to(delivery=1)])
    failing = iter([False, True])

    async def take() -> OneJob | None:
        if next(failing):
            raise RuntimeError("no more")
        return await jobs.take()

    async with ScriptedMx() as mx:
        mx.answer(dot="hold:250 2.0.0 queued")
        lane = asyncio.create_task(transport.run(route_to(mx), take))
        await mx.stalled.wait()
        mx.release.set()
        with pytest.raises(RuntimeError, match="no more"):
            await lane
    assert [o.verdict for o in jobs.outcomes] == [Verdict.DELIVERED]


async def test_a_lane_cancelled_while_a_spent_connection_ends_tells_its_mail(
    make_transport: MakeTransport,
) -> None:
    """Also the mail on the connection that is about to be replaced gets its outcome at once."""
    transport = make_transport(limits=PoolLimits(messages=1))
    jobs = Jobs([mail_to(delivery=n) for n in range(2)])
    async with ScriptedMx() as mx:
        mx.answer(dot=Act.STALL)
        lane = asyncio.create_task(transport.run(route_to(mx), jobs.take))
        await mx.stalled.wait()
        lane.cancel()
        with pytest.raises(asyncio.CancelledError):
            await lane
    assert {o.delivery: o.ambiguous for o in jobs.outcomes} == {0: True, 1: False}


class _Withdrawn(Jobs):
    async def take(self) -> _NotAnyMore | None:  # type: ignore[override]
        job = await super().take()
        return _NotAnyMore(job.mail, self) if job is not None else None


class _NotAnyMore:
    def __init__(self, mail: Outgoing, jobs: Jobs) -> None:
        self.mail, self.jobs, self.delivery = mail, jobs, mail.delivery

    async def make(self) -> Outgoing | None:
        return None if self.delivery % 2 else self.mail

    def done(self, outcome: Outcome) -> None:
        self.jobs.outcomes.append(outcome)


async def test_a_mail_that_must_not_go_any_more_is_passed_over(transport: Transport) -> None:
    """`make` gives None: nothing is sent, nothing told, the others go on."""
    jobs = _Withdrawn([mail_to(delivery=n) for n in range(6)])
    async with ScriptedMx() as mx:
        await transport.run(route_to(mx), jobs.take)
    assert [o.delivery for o in jobs.outcomes] == [0, 2, 4]
    assert len(mx.messages) == 3


@pytest.mark.parametrize(("stage", "ambiguous"), [("rcpt", False), ("dot", True)])
async def test_a_lane_that_is_cancelled_tells_what_was_on_its_way(
    transport: Transport, stage: str, *, ambiguous: bool
) -> None:
    """Nothing is left without an outcome, and only a sent dot is ambiguous (G05)."""
    jobs = Jobs([mail_to(delivery=n) for n in range(5)])
    async with ScriptedMx() as mx:
        mx.answer(**{stage: Act.STALL})
        lane = asyncio.create_task(transport.run(route_to(mx), jobs.take))
        await mx.stalled.wait()
        lane.cancel()
        with pytest.raises(asyncio.CancelledError):
            await lane
    assert len(jobs.outcomes) == jobs.taken
    assert {o.verdict for o in jobs.outcomes} == {Verdict.RETRY}
    assert [o.ambiguous for o in jobs.outcomes].count(True) == int(ambiguous)


async def test_a_lane_cancelled_while_connecting_tells_its_mail(transport: Transport) -> None:
    """The mail was taken, so it gets an outcome, and was not sent."""
    jobs = Jobs([mail_to()])
    async with ScriptedMx() as mx:
        mx.answer(banner=Act.STALL)
        lane = asyncio.create_task(transport.run(route_to(mx), jobs.take))
        await mx.stalled.wait()
        lane.cancel()
        with pytest.raises(asyncio.CancelledError):
            await lane
    [outcome] = jobs.outcomes
    assert (outcome.verdict, outcome.problem) == (Verdict.RETRY, Problem.LOST)
    assert not outcome.ambiguous


async def test_no_task_or_connection_is_left_behind(make_transport: MakeTransport) -> None:
    """S09: faults of every kind, then the loop is as empty as before."""
    before = len(asyncio.all_tasks())
    transport = make_transport(seconds=0.05)
    for act in (Act.DROP, Act.RESET, Act.STALL):
        for stage in ("banner", "ehlo", "mail", "rcpt", "data", "dot"):
            jobs = Jobs([mail_to(delivery=n) for n in range(3)])
            async with ScriptedMx() as mx:
                mx.answer(**{stage: act})
                await transport.run(route_to(mx), jobs.take)
                assert len(jobs.outcomes) == 3
                transport.pool.close()
    await transport.close()
    assert len(asyncio.all_tasks()) == before


def repeat_answer(answer: Answer) -> list[Answer]:
    """Give enough of it for a whole lane."""
    return [answer] * 30


async def test_faults_do_not_hold_healthy_mail_up(make_transport: MakeTransport) -> None:
    """The S cases' frame: 200 healthy mails beside every fault, all of them arrive."""
    transport = make_transport(seconds={Stage.RCPT: 0.3})
    others = make_transport()
    healthy = [Jobs([mail_to(delivery=n) for n in range(50)]) for _ in range(4)]
    faults: list[dict[str, Answer]] = [
        {"banner": "421 4.3.2 busy"},
        {"mail": "451 4.3.0 later"},
        {"rcpt": Act.STALL},
        {"data": Act.RESET},
        {"dot": Act.DROP},
        {"dot": "550 5.7.1 no"},
    ]
    sick = [Jobs([mail_to(delivery=n) for n in range(10)]) for _ in faults]
    async with ScriptedMx() as good:
        servers = [ScriptedMx() for _ in faults]
        for server, fault in zip(servers, faults, strict=True):
            for stage, answer in fault.items():
                server.answer(**{stage: repeat_answer(answer)})
        async with asyncio.TaskGroup() as group:
            opened = [await server.__aenter__() for server in servers]
            for jobs in healthy:
                group.create_task(others.run(route_to(good), jobs.take))
            for jobs, server in zip(sick, opened, strict=True):
                group.create_task(transport.run(route_to(server), jobs.take))
        for server in servers:
            await server.__aexit__(None, None, None)
        assert len(good.messages) == 200
    assert all(len(jobs.outcomes) == len(jobs.mails) for jobs in (*healthy, *sick))
    assert {o.verdict for jobs in healthy for o in jobs.outcomes} == {Verdict.DELIVERED}
    assert not any(o.verdict is Verdict.BOUNCED for jobs in sick[:5] for o in jobs.outcomes)

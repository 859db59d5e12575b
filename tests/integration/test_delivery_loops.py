"""The route out on the event loop of production: the same scenario on uvloop and on the standard
loop.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import pytest
import trustme
import uvloop

from relay.delivery.outgoing import Verdict
from relay.delivery.route import TlsLevel
from tests.harness.outbound import Jobs, mail_to, route_to, transport_for_tests
from tests.harness.scripted_mx import Act, ScriptedMx

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
BIG = b"Subject: big\r\n\r\n" + (b"." + b"x" * 70 + b"\r\n") * 200_000


@pytest.fixture(params=LOOPS)
def runner(request: pytest.FixtureRequest) -> Callable[[], asyncio.Runner]:
    """Give a runner on each loop."""
    return lambda: asyncio.Runner(loop_factory=LOOPS[request.param])


def test_many_mails_faults_and_tls(runner: Callable[[], asyncio.Runner]) -> None:
    """Clear and TLS, a lost connection, a refusal, a content larger than any buffer."""

    async def scenario(tls: ssl.SSLContext | None) -> None:
        transport = transport_for_tests()
        mails = [mail_to(f"r{n}@inbox.test", delivery=n) for n in range(40)]
        jobs = Jobs([*mails, mail_to(content=BIG, delivery=99)])
        async with ScriptedMx(tls=tls, extensions=("PIPELINING",)) as mx:
            mx.answer(dot=["250 ok", "250 ok", Act.DROP])
            mx.answer_recipients({"r7@inbox.test": "550 5.1.1 unknown"})
            await transport.run(route_to(mx), jobs.take)
            await transport.close()
        verdicts = {o.delivery: o.verdict for o in jobs.outcomes}
        assert len(jobs.outcomes) == len(verdicts) == 41
        others = {v for d, v in verdicts.items() if d not in (2, 7)}
        assert others == {Verdict.DELIVERED}
        assert (verdicts[2], verdicts[7]) == (Verdict.RETRY, Verdict.BOUNCED)
        assert [o.ambiguous for o in jobs.outcomes if o.delivery == 2] == [True]
        assert mx.messages[-1].content == BIG
        assert bool(mx.messages[-1].tls) == (tls is not None)

    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(server)
    for context in (None, server):
        with runner() as run:
            run.run(scenario(context))


@pytest.mark.parametrize("act", [Act.RESET, Act.DROP])
def test_a_loss_before_the_end_was_sent_is_not_ambiguous(
    runner: Callable[[], asyncio.Runner], act: Act
) -> None:
    """S05 on both loops: what the kernel took decides."""

    async def scenario() -> None:
        transport = transport_for_tests()
        async with ScriptedMx(extensions=("PIPELINING",)) as mx:
            mx.answer(content=act)
            route = route_to(mx, TlsLevel.NONE)
            outcome = await transport.deliver(route, lambda: mail_to(content=BIG))
            await transport.close()
        assert outcome.verdict is Verdict.RETRY
        assert not outcome.ambiguous

    with runner() as run:
        run.run(scenario())

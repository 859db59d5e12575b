"""Turns the end of a transaction, or of the search for a host, into an `Outcome`.

The one place where the classifier is asked and the verdict is taken, so that every attempt is told
in the same words.
"""

from __future__ import annotations

from relay.delivery.connection import Connection
from relay.delivery.outgoing import Classify, Judgement, Outcome, Problem, Stage, Verdict
from relay.delivery.route import NoHostsError
from relay.delivery.session import SessionError
from relay.delivery.transaction import Failure, Transaction
from relay.delivery.verdict import judge
from relay.mail.reply import Reply

_OWN_CODES = {  # RFC 3463, for what we found ourselves; the class digit follows the verdict
    Problem.UNREACHABLE: "4.4.1",
    Problem.LOST: "4.4.2",
    Problem.TIMEOUT: "4.4.2",
    Problem.PROTOCOL: "4.4.2",
    Problem.TLS: "4.7.5",
    Problem.LOGIN: "4.7.8",
}


def of_transaction(
    transaction: Transaction,
    connection: Connection,
    classify: Classify | None,
    *,
    more_hosts: bool = False,
) -> Outcome:
    """Tell what became of a transaction on a connection."""
    reply = transaction.reply.parse() if transaction.reply is not None else None
    problem = transaction.problem
    target = connection.target
    if problem is None:
        return Outcome(
            delivery=transaction.mail.delivery,
            verdict=Verdict.DELIVERED,
            stage=transaction.stage,
            reply=reply,
            host=target.name,
            address=target.address,
            provider=target.provider,
            tls=connection.tls,
            took_ms=int((transaction.ended - transaction.began) * 1000),
            log=transaction.log,
            confirms=b" NOTIFY=" in transaction.rcpt_line,
        )
    judgement = None
    if reply is not None:
        judgement = _judgement(classify, reply, transaction.stage, target.provider)
    verdict = judge(
        transaction.stage,
        problem,
        reply,
        judgement,
        more_hosts=more_hosts,
        ambiguous=transaction.ambiguous,
    )
    enhanced = transaction.enhanced
    if reply is None:
        enhanced = enhanced or _OWN_CODES.get(problem, "4.3.0")
        if verdict is Verdict.BOUNCED:
            judgement = _judgement_of_ours(classify, enhanced, transaction.error, transaction.stage)
    return Outcome(
        delivery=transaction.mail.delivery,
        verdict=verdict,
        stage=transaction.stage,
        reply=reply,
        problem=problem,
        enhanced=enhanced,
        error=transaction.error,
        host=target.name,
        address=target.address,
        provider=target.provider,
        tls=connection.tls,
        ambiguous=transaction.ambiguous,
        took_ms=int((transaction.ended - transaction.began) * 1000),
        judgement=judgement,
        log=transaction.log,
        confirms=b" NOTIFY=" in transaction.rcpt_line,
    )


def of_no_session(
    delivery: int,
    error: SessionError | NoHostsError,
    classify: Classify | None,
    took_ms: int = 0,
) -> Outcome:
    """Tell what it means for a delivery that no session came about, all hosts having been tried."""
    if isinstance(error, NoHostsError):
        return Outcome(
            delivery=delivery,
            verdict=Verdict.BOUNCED if error.permanent else Verdict.RETRY,
            stage=Stage.DNS,
            problem=Problem.DNS,
            enhanced=error.enhanced,
            error=str(error),
            took_ms=took_ms,
            judgement=(
                _judgement_of_ours(classify, error.enhanced, str(error), Stage.DNS)
                if error.permanent
                else None
            ),
        )
    failure, target = error.failure, error.target
    reply = failure.reply.parse() if failure.reply is not None else None
    judgement = None
    if reply is not None:
        judgement = _judgement(classify, reply, failure.stage, target.provider)
    return Outcome(
        delivery=delivery,
        verdict=judge(failure.stage, failure.problem, reply, judgement),
        stage=failure.stage,
        reply=reply,
        problem=failure.problem,
        enhanced="" if reply is not None else _OWN_CODES.get(failure.problem, "4.4.1"),
        error=failure.error,
        host=target.name,
        address=target.address,
        provider=target.provider,
        took_ms=took_ms,
        judgement=judgement,
        log=error.log,
    )


def of_giving_up(delivery: int) -> Outcome:
    """Tell that a delivery was broken off here before its mail was sent."""
    return Outcome(
        delivery=delivery,
        verdict=Verdict.RETRY,
        stage=Stage.CONNECT,
        problem=Problem.LOST,
        enhanced="4.3.2",
        error="the attempt was broken off here before anything was sent",
    )


def is_final(failure: Failure) -> bool:
    """Tell whether a session failed in a way that bounces when no other host is left."""
    reply = failure.reply.parse() if failure.reply is not None else None
    return judge(failure.stage, failure.problem, reply) is Verdict.BOUNCED


def _judgement(
    classify: Classify | None, reply: Reply, stage: Stage, provider: str
) -> Judgement | None:
    if classify is None:
        return None
    return classify(reply.code, reply.enhanced, reply.text, stage=stage.word, provider=provider)


def _judgement_of_ours(
    classify: Classify | None, enhanced: str, text: str, stage: Stage
) -> Judgement | None:
    """Judge what we found ourselves as if the next hop had said it, so that it is counted alike."""
    return _judgement(classify, Reply(550, enhanced, text), stage, "")

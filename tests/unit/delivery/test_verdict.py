"""The verdict as a table: every rule of its docstring has rows here."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from relay.delivery.outgoing import Problem, Stage, Verdict
from relay.delivery.verdict import judge
from relay.mail.reply import Reply, read_reply

RETRY, NEXT, BOUNCED = Verdict.RETRY, Verdict.NEXT_HOST, Verdict.BOUNCED


@dataclass
class Says:
    """A judgement."""

    delivery: str
    destination: str = "ok"
    category: str = "soft"
    reason: str = ""
    recipient: str = "keep"


ROWS = [
    # stage, problem, reply, advice, with more hosts, without
    (Stage.DOT, Problem.LOST, "", "", NEXT, RETRY),
    (Stage.CONNECT, Problem.UNREACHABLE, "", "", NEXT, RETRY),
    (Stage.TLS, Problem.TLS, "", "", NEXT, RETRY),
    (Stage.MAIL, Problem.TIMEOUT, "", "", NEXT, RETRY),
    (Stage.RCPT, Problem.PROTOCOL, "", "", NEXT, RETRY),
    (Stage.AUTH, Problem.LOGIN, "535 no", "", NEXT, RETRY),
    (Stage.MAIL, Problem.CAPABILITY, "", "", NEXT, BOUNCED),
    (Stage.MAIL, Problem.LOCAL, "", "", BOUNCED, BOUNCED),
    (Stage.GREETING, Problem.REFUSED, "421 x", "", NEXT, RETRY),
    (Stage.GREETING, Problem.REFUSED, "554 x", "", NEXT, RETRY),
    (Stage.GREETING, Problem.REFUSED, "554 x", "give-up", NEXT, RETRY),
    (Stage.GREETING, Problem.REFUSED, "521 x", "", NEXT, BOUNCED),
    (Stage.EHLO, Problem.REFUSED, "556 x", "", NEXT, BOUNCED),
    (Stage.RCPT, Problem.REFUSED, "421 x", "give-up", NEXT, RETRY),
    (Stage.MAIL, Problem.REFUSED, "451 x", "", RETRY, RETRY),
    (Stage.RCPT, Problem.REFUSED, "450 x", "give-up", RETRY, RETRY),
    (Stage.RCPT, Problem.REFUSED, "450 x", "next-host", NEXT, RETRY),
    (Stage.RCPT, Problem.REFUSED, "550 x", "", BOUNCED, BOUNCED),
    (Stage.RCPT, Problem.REFUSED, "550 x", "give-up", BOUNCED, BOUNCED),
    (Stage.RCPT, Problem.REFUSED, "550 x", "retry", RETRY, RETRY),
    (Stage.RCPT, Problem.REFUSED, "550 x", "next-host", NEXT, RETRY),
    (Stage.DOT, Problem.REFUSED, "554 x", "", BOUNCED, BOUNCED),
]


@pytest.mark.parametrize(("stage", "problem", "text", "advice", "more", "last"), ROWS)
def test_what_each_failure_means(
    stage: Stage, problem: Problem, text: str, advice: str, more: Verdict, last: Verdict
) -> None:
    """With other hosts to try, and without."""
    reply: Reply | None = read_reply(int(text[:3]), text[4:]) if text else None
    judgement = Says(advice) if advice else None
    assert judge(stage, problem, reply, judgement, more_hosts=True) is more
    assert judge(stage, problem, reply, judgement) is last


def test_an_ambiguous_attempt_is_never_tried_elsewhere_at_once() -> None:
    """A second host might deliver a second copy."""
    verdict = judge(Stage.DOT, Problem.LOST, None, more_hosts=True, ambiguous=True)
    assert verdict is RETRY


def test_no_problem_is_a_delivery() -> None:
    """The server said yes to the final dot."""
    assert judge(Stage.DOT, None, Reply(250)) is Verdict.DELIVERED


@pytest.mark.parametrize(
    "problem", [p for p in Problem if p not in (Problem.LOCAL, Problem.CAPABILITY)]
)
@pytest.mark.parametrize("stage", list(Stage))
def test_nothing_bounces_without_a_reply(stage: Stage, problem: Problem) -> None:
    """Where nobody said no, mail waits."""
    assert judge(stage, problem, None) is RETRY

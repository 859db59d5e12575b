"""What every failure means: the one place that decides between retry, next host and bounce.

The rules, first match wins:

1. The final dot was sent and nothing came back: RETRY. Another host now might deliver a second copy
at once. 2. No reply at all (no connection, lost, timed out, unreadable, TLS, login): the host's
fault. NEXT_HOST while there is one, else RETRY. Never a bounce: nothing was said about the message.
3. The message needs what this host lacks (SMTPUTF8, SIZE, 8BITMIME): NEXT_HOST, else BOUNCED. A
message that must not go on the wire at all: BOUNCED. 4. 421, whenever said, and every refusal
before MAIL: the host's fault. NEXT_HOST, else RETRY; only "521" and "556" (RFC 7504: accepts no
mail, ever) bounce when no host is left. A 5xx greeting is most often about our address, not the
recipient. 5. 4xx from MAIL on: RETRY; the classifier may send it to the next host. It is never made
a bounce: the basic code wins. 6. 5xx from MAIL on: BOUNCED, unless the classifier knows this reply
as one to retry (rate limits said with 5xx).

What a reply means for the address and for the destination is the classifier's word, not decided
here.
"""

from __future__ import annotations

from relay.delivery.outgoing import Judgement, Problem, Stage, Verdict
from relay.mail.reply import Reply

_NO_MAIL_HERE = (521, 556)  # RFC 7504


def judge(
    stage: Stage,
    problem: Problem | None,
    reply: Reply | None,
    judgement: Judgement | None = None,
    *,
    more_hosts: bool = False,
    ambiguous: bool = False,
) -> Verdict:
    """Say what this end of an attempt means for its delivery; `problem` is None where the next hop
    took the message.
    """
    if problem is None:
        return Verdict.DELIVERED
    if ambiguous:
        return Verdict.RETRY
    if problem is Problem.LOCAL:
        return Verdict.BOUNCED
    if problem is Problem.CAPABILITY:
        return Verdict.NEXT_HOST if more_hosts else Verdict.BOUNCED
    if reply is None or reply.code == 421 or stage < Stage.MAIL:
        return _hosts_fault(reply, more_hosts=more_hosts)
    return _refusal(reply, judgement, more_hosts=more_hosts)


def _hosts_fault(reply: Reply | None, *, more_hosts: bool) -> Verdict:
    if more_hosts:
        return Verdict.NEXT_HOST
    if reply is not None and reply.code in _NO_MAIL_HERE:
        return Verdict.BOUNCED
    return Verdict.RETRY


def _refusal(reply: Reply, judgement: Judgement | None, *, more_hosts: bool) -> Verdict:
    advice = judgement.delivery if judgement is not None else ""
    if advice == "next-host" and more_hosts:
        return Verdict.NEXT_HOST
    if reply.is_permanent and advice not in ("retry", "next-host"):
        return Verdict.BOUNCED
    return Verdict.RETRY

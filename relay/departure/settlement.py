"""From the outcome of an attempt to its settlement: what becomes of the delivery, and the facts it
states.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from metrics.events import Event, Kind
from relay.delivery.outgoing import Outcome, Verdict
from relay.delivery.schedule import Schedule
from relay.message import Delivery, Disposition, Message, Settlement

_encode = msgspec.msgpack.Encoder().encode

SUPPRESSION_SCOPE = "account"
_MAX_REPLY = 1000
_MAX_TRANSCRIPT = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The settlement to store, and the fact in it for whoever acts on facts at once."""

    settlement: Settlement
    event: Event


def settle(
    delivery: Delivery, message: Message, outcome: Outcome, schedule: Schedule, at: int, node: str
) -> Settled:
    """Say what an attempt makes of its delivery; `at` is microseconds since the epoch."""
    attempt = delivery.attempt + 1
    if outcome.verdict is Verdict.DELIVERED:
        took = max(0, at - delivery.starts_at) // 1000
        event = _event(Kind.DELIVERED, delivery, message, outcome, attempt, at, node, took_ms=took)
        return _done(delivery, event)
    if outcome.verdict is Verdict.BOUNCED:
        return _done(delivery, _bounced(delivery, message, outcome, attempt, at, node))
    next_try = schedule.next_try(starts_at=delivery.starts_at, attempts=attempt, now=at)
    if next_try is None:
        event = _event(Kind.FAILED, delivery, message, outcome, attempt, at, node, reason="expired")
        return _done(delivery, event)
    event = _event(
        Kind.DEFERRED, delivery, message, outcome, attempt, at, node, reason=_reason(outcome)
    )
    return Settled(
        settlement=Settlement(
            delivery=delivery.id,
            message=delivery.message,
            disposition=Disposition.RETRY,
            not_before=next_try,
            attempt=attempt,
            last_reply=outcome.text[:_MAX_REPLY],
            events=(_encode(event),),
        ),
        event=event,
    )


def excluded(delivery: Delivery, message: Message, reason: str, at: int, node: str) -> Settled:
    """Settle a delivery whose recipient was suppressed after acceptance: nothing is sent."""
    event = _about(Kind.EXCLUDED, delivery, message, delivery.attempt, at, node)
    return _done(delivery, msgspec.structs.replace(event, reason=reason))


def cancelled_event(delivery: Delivery, at: int, node: str) -> bytes:
    """Give the encoded fact that somebody cancelled a delivery; its message is not at hand."""
    return _encode(
        Event(
            kind=Kind.FAILED,
            at=at,
            delivery=delivery.id,
            message=delivery.message,
            account=delivery.account,
            sending_domain=delivery.sending_domain,
            recipient=delivery.recipient.decode("utf-8", "replace"),
            recipient_domain=delivery.recipient_domain,
            campaign=delivery.campaign,
            node=node,
            attempt=delivery.attempt,
            reason="cancelled",
        )
    )


def _done(delivery: Delivery, event: Event) -> Settled:
    settlement = Settlement(
        delivery=delivery.id,
        message=delivery.message,
        disposition=Disposition.DONE,
        attempt=event.attempt,
        events=(_encode(event),),
    )
    return Settled(settlement=settlement, event=event)


def _bounced(
    delivery: Delivery, message: Message, outcome: Outcome, attempt: int, at: int, node: str
) -> Event:
    judged = outcome.judgement
    event = _event(
        Kind.BOUNCED, delivery, message, outcome, attempt, at, node, reason=_reason(outcome)
    )
    if judged is None:
        return msgspec.structs.replace(event, category="soft")
    scope = SUPPRESSION_SCOPE if judged.recipient == "suppress" else ""
    return msgspec.structs.replace(event, category=judged.category, scope=scope)


def _reason(outcome: Outcome) -> str:
    if outcome.judgement is not None and outcome.judgement.reason:
        return outcome.judgement.reason
    return outcome.problem.value if outcome.problem else ""


def _event(
    kind: Kind,
    delivery: Delivery,
    message: Message,
    outcome: Outcome,
    attempt: int,
    at: int,
    node: str,
    *,
    reason: str = "",
    took_ms: int = 0,
) -> Event:
    return msgspec.structs.replace(
        _about(kind, delivery, message, attempt, at, node),
        provider=outcome.provider,
        reason=reason,
        code=outcome.code,
        enhanced=outcome.reply.enhanced if outcome.reply else outcome.enhanced,
        reply=outcome.text[:_MAX_REPLY],
        host=outcome.host,
        took_ms=took_ms,
        transcript="" if kind is Kind.DELIVERED else outcome.transcript[:_MAX_TRANSCRIPT],
    )


def _about(
    kind: Kind, delivery: Delivery, message: Message, attempt: int, at: int, node: str
) -> Event:
    return Event(
        kind=kind,
        at=at,
        delivery=delivery.id,
        message=message.id,
        account=message.account,
        sending_domain=message.sending_domain,
        sending_domain_id=message.sending_domain_id,
        recipient=delivery.recipient.decode("utf-8", "replace"),
        recipient_domain=delivery.recipient_domain,
        campaign=message.campaign,
        template=message.template,
        tags=message.tags,
        node=node,
        attempt=attempt,
    )

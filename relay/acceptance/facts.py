"""The facts that acceptance states: accepted and excluded recipients, and what was refused.

Guarantees: one event per recipient, encoded once, with every dimension of its message; what a
sender wrote into notes is cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from metrics.events import Event, Kind, encode
from relay.acceptance.submission import Recipient, Submission
from relay.errors import RefusedError
from relay.message import Message
from relay.settings import Account
from tracking.tokens import campaign_hash

_MAX_NOTES = 20
_MAX_NOTE = 200


def accepted(message: Message, node: str, skipped: str, notes: Sequence[str]) -> Event:
    """Give the event of a message, without a recipient; `skipped` says why it is not tracked."""
    return Event(
        kind=Kind.ACCEPTED,
        at=message.accepted_at,
        message=message.id,
        account=message.account,
        sending_domain=message.sending_domain,
        sending_domain_id=message.sending_domain_id,
        campaign=message.campaign,
        campaign_hash=campaign_hash(message.account, message.campaign) if message.campaign else 0,
        template=message.template,
        tags=message.tags,
        metadata=message.metadata,
        node=node,
        message_id=message.message_id,
        subject=message.subject,
        sender=message.sender.decode("utf-8", "replace"),
        size=message.size,
        tracked=" ".join(
            word for word, on in (("opens", message.opens), ("clicks", message.clicks)) if on
        ),
        skipped=skipped,
        notes=tuple(note[:_MAX_NOTE] for note in notes[:_MAX_NOTES]),
    )


def of_recipients(
    message: Event,
    kept: Iterable[tuple[int, Recipient]],
    excluded: Iterable[tuple[int, Recipient, str]],
) -> list[bytes]:
    """Give the facts of those who get the message and of those who do not, with the reason."""
    facts = [encode(_about(message, id_, who)) for id_, who in kept]
    for id_, who, reason in excluded:
        one = msgspec.structs.replace(_about(message, id_, who), kind=Kind.EXCLUDED, reason=reason)
        facts.append(encode(one))
    return facts


def refused(
    submission: Submission, account: Account, first_id: int, at: int, node: str, why: RefusedError
) -> list[bytes]:
    """Give the facts of a submission that is not taken; nothing else is kept of it."""
    return [
        encode(
            Event(
                kind=Kind.REJECTED,
                at=at,
                delivery=first_id + index,
                message=first_id,
                account=account.id,
                recipient=str(recipient.mailbox),
                recipient_domain=recipient.mailbox.routing_domain,
                node=node,
                reason=why.enhanced,
                code=why.code,
                enhanced=why.enhanced,
                reply=why.text,
            )
        )
        for index, recipient in enumerate(submission.recipients, start=1)
    ]


def _about(message: Event, delivery: int, recipient: Recipient) -> Event:
    return msgspec.structs.replace(
        message,
        delivery=delivery,
        recipient=str(recipient.mailbox),
        recipient_domain=recipient.mailbox.routing_domain,
    )

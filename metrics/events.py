"""The one event record: everything that can happen to a delivery, flat, with every dimension.

Statistics, the ledger, logs and tests read this record and nothing else. Producers fill
what they know; a hit on the tracking host knows its delivery and the ids of its token only, and the
fold joins the rest from the delivery's row.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """The closed vocabulary of facts about a delivery (DESIGN section 5)."""

    ACCEPTED = "accepted"
    EXCLUDED = "excluded"
    REJECTED = "rejected"
    DELIVERED = "delivered"
    DEFERRED = "deferred"
    BOUNCED = "bounced"
    FAILED = "failed"
    COMPLAINED = "complained"
    OPENED = "opened"
    CLICKED = "clicked"
    UNSUBSCRIBED = "unsubscribed"
    AUTOREPLIED = "autoreplied"


class Hit(msgspec.Struct, frozen=True, array_like=True):
    """What the tracking host saw of one request; kept so that it can be classified and classified
    again."""

    method: str = "GET"
    user_agent: str = ""
    address: str = ""  # client address after trusted proxies
    purpose: str = ""  # value of Purpose, Sec-Purpose or X-Moz
    link: int = 0  # index of the link in its message; 0 for the pixel
    url: str = ""  # destination of a click
    judged: str = ""  # nature by the hit alone, where address and user agent are not kept
    platform: str = ""  # likewise


class Event(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """One fact about one delivery.

    `at` is microseconds since 1970-01-01 UTC. Ids are 64-bit and positive; 0 means "not known
    here". `campaign_hash` stands in for `campaign` where only the token is known. Text is valid
    Unicode without NUL (PostgreSQL refuses it).
    """

    kind: Kind
    at: int
    delivery: int = 0
    message: int = 0
    account: int = 0
    sending_domain: str = ""
    sending_domain_id: int = 0
    recipient: str = ""
    recipient_domain: str = ""
    provider: str = ""
    campaign: str = ""
    campaign_hash: int = 0
    template: str = ""
    tags: tuple[str, ...] = ()
    metadata: dict[str, str] = {}
    node: str = ""
    attempt: int = 0
    category: str = ""  # of a bounce: hard, soft, ignored
    reason: str = ""  # of a bounce, failure, exclusion or rejection
    code: int = 0  # SMTP reply code, 0 where no reply was read
    enhanced: str = ""  # RFC 3463 code without brackets, "" where none
    reply: str = ""  # the remote's text as it said it, bounded
    host: str = ""  # who said it
    took_ms: int = 0  # of a delivery: from acceptance (or not_before) to the final reply
    returned: bool = False  # a bounce that came back later by mail, not in the SMTP dialogue
    message_id: str = ""  # of an accepted message: its Message-ID header
    subject: str = ""  # of an accepted message, for people to recognise it
    sender: str = ""  # envelope sender
    size: int = 0  # octets of the accepted message
    tracked: str = ""  # of an accepted message: "opens", "clicks", "opens clicks" or ""
    skipped: str = ""  # why an accepted message that should be tracked is not
    transcript: str = ""  # what was said at the last attempt, one line per step
    scope: str = (
        ""  # how far this fact suppresses its recipient: account, domain, campaign; "": not
    )
    hit: Hit | None = None
    notes: tuple[str, ...] = ()  # of an accepted message: control headers without effect, and why


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Event)


def encode(event: Event) -> bytes:
    """Write an event as it lies in outboxes and in the ledger (MessagePack, fields in order)."""
    return _encoder.encode(event)


def decode(data: bytes) -> Event:
    """Read what `encode` wrote, also by an older version (missing fields take their defaults).

    Raises msgspec.DecodeError (a ValueError) for anything else.
    """
    return _decoder.decode(data)

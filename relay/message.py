"""A message and its deliveries as the spool keeps them, and what an attempt may make of a delivery.

These are the values that travel along the route from acceptance to departure; they know no I/O.
"""

from __future__ import annotations

from enum import Enum, StrEnum

import msgspec

OWN_ACCOUNT = 0
"""The node itself, for mail of its own (failure notices): no facts are told of it."""


class Message(msgspec.Struct, array_like=True, kw_only=True, frozen=True):
    """What was submitted, once; everything that departure needs besides the stored content.

    The content (header and body, CRLF line ends, control headers and Bcc removed, Date and
    Message-ID present) lies in a segment file of the spool. `trace` is our Received field, which
    goes in front of it at departure. Times are microseconds since the epoch.
    """

    id: int
    account: int
    accepted_at: int
    settings_version: int
    credential: int = 0
    sending_domain: str = ""  # A-label, lower case
    sending_domain_id: int = 0  # 0: not one of the account's registered domains
    sender: bytes = b""  # envelope sender as submitted; b"" is the null sender
    trace: bytes = b""
    campaign: str = ""
    template: str = ""
    tags: tuple[str, ...] = ()
    metadata: dict[str, str] = {}
    message_id: str = ""  # the Message-ID field with its angle brackets
    subject: str = ""
    size: int = 0  # octets of the stored content
    opens: bool = False  # tracking as decided at acceptance; departure can only reduce it
    clicks: bool = False
    plan: bytes = b""  # encoded tracking plan; b"" where there is nothing to rewrite
    unsubscribe: bool = False  # departure adds List-Unsubscribe
    signed: bool = False  # arrived with a DKIM signature
    eightbit: bool = False
    utf8: bool = False  # submitted with SMTPUTF8
    envid: bytes = b""
    ret: str = ""
    pool: str = ""  # of source addresses, as the message asked; "": the sending domain's
    plan_at: int = 0  # where in the content the plan's offsets count from


class State(int, Enum):
    """Where a delivery stands in the spool; terminal ones leave it."""

    WAITING = 0  # until not_before
    CLAIMED = 1  # in a dispatcher's memory, perhaps on the wire
    HELD = 2  # until somebody releases it


class Delivery(msgspec.Struct, array_like=True, kw_only=True, frozen=True):
    """One message to one recipient, as it waits in the spool."""

    id: int
    message: int
    recipient: bytes  # envelope address as submitted
    recipient_domain: str  # A-label, lower case
    destination: str  # what dispatch groups by: the recipient domain, or the name of a route
    account: int = 0
    campaign: str = ""
    sending_domain: str = ""
    state: State = State.WAITING
    not_before: int = 0  # microseconds since the epoch; its life counts from the first of these
    starts_at: int = 0  # the first not_before: age is counted from here, time held is not
    attempt: int = 0  # attempts made so far
    priority: int = 0  # higher goes first
    ambiguous: bool = False  # claimed when a process died: the last attempt may have arrived
    last_reply: str = ""
    notify: str = ""  # RFC 3461 NOTIFY, "" where not given
    orcpt: bytes = b""


class Disposition(StrEnum):
    """What a settled attempt makes of its delivery."""

    DONE = "done"  # terminal: the delivery leaves the spool
    RETRY = "retry"  # waits until not_before
    HOLD = "hold"  # waits until released
    RETURN = "return"  # not attempted after all: waits as if it had not been claimed


class Settlement(msgspec.Struct, kw_only=True, frozen=True):
    """The end of one claim: the delivery, what becomes of it, and the facts that go with it.

    The facts enter the outbox in the same transaction. `attempt`, `last_reply` and `ambiguous` are
    read for RETRY and HOLD, `not_before` for RETRY; RETURN restores what was before the claim.
    """

    delivery: int
    message: int
    disposition: Disposition
    not_before: int = 0
    attempt: int = 0
    last_reply: str = ""
    ambiguous: bool = False  # the final dot was sent and no reply was read
    events: tuple[bytes, ...] = ()  # encoded metrics.events.Event

"""From a report and the delivery it was linked to, to the facts it states.

Guarantees: whose delivery it is was decided by a signature or the ledger (`bounces.linking`); the
report's own words decide only what happened. A report that is linked to no delivery becomes a fact
without one: kept, counted, shown, and it suppresses nobody. A delay is no bounce.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from bounces.linking import Consequence, Link, conclude
from bounces.report import Record, Report
from metrics.events import Event, Kind
from relay.mail.header import split
from relay.mail.keyring import KeyRing
from relay.unsubscription import scope_of
from tracking import tokens

SUPPRESSION_SCOPE = "account"  # how far a dead address or a complaint reaches
_KINDS = {
    "bounced": Kind.BOUNCED,
    "complained": Kind.COMPLAINED,
    "unsubscribed": Kind.UNSUBSCRIBED,
    "autoreplied": Kind.AUTOREPLIED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How far an unsubscription by mail reaches, as our own token in its subject says."""

    scope: str = "domain"
    domain_id: int = 0
    campaign_hash: int = 0


NO_WISH = Wish()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What a report states: the conclusion, and the facts to record (none where it says nothing
    about a delivery).
    """

    consequence: Consequence
    events: Sequence[Event]


def stated(
    report: Report,
    found: Link | None,
    at: int,
    *,
    account: int = 0,
    recipient: str = "",
    wish: Wish = NO_WISH,
    trust_words: bool = False,
) -> Stated:
    """Say what a report means; `at` is microseconds since the epoch.

    `found` None: it could not be linked; `account` is then whose mailbox it came to, 0 where nobody
    knows. `recipient` is the delivery's own where it is known: of a report about many, what it says
    about this one counts.
    """
    said = conclude(report, found, recipient=recipient, trust_words=trust_words)
    kind = _KINDS.get(said.event)
    if kind is None:
        return Stated(consequence=said, events=())
    event = Event(
        kind=kind,
        at=at,
        delivery=found.delivery if found else 0,
        account=found.account if found else account,
        category=said.category if kind is Kind.BOUNCED else "",
        reason=_reason(kind, said, report),
        returned=kind is Kind.BOUNCED,
    )
    event = _with_words(event, said.record)
    if found is None:
        event = _with_traces(event, report, said.record)
    if said.suppress:
        event = _with_reach(event, wish)
    return Stated(consequence=said, events=(event,))


def wish_of(message: bytes, found: Link | None, keyring: KeyRing, hosts: Sequence[str]) -> Wish:
    """Read the token that our List-Unsubscribe put into the subject; NO_WISH where there is none
    of this delivery.
    """
    subject = split(message).get(b"subject") or b""
    for word in subject.decode("ascii", "replace").split():
        for host in hosts if len(word) == tokens.HEAD_SIZE else ():
            try:
                token = tokens.read(word, host, keyring)
            except tokens.BadTokenError:
                continue
            identity = token.identity
            if token.kind is tokens.Kind.UNSUBSCRIBE and found is not None:
                if identity.delivery != found.delivery:
                    return NO_WISH
                return Wish(
                    scope=scope_of(token.link),
                    domain_id=identity.domain,
                    campaign_hash=identity.campaign,
                )
    return NO_WISH


def _reason(kind: Kind, said: Consequence, report: Report) -> str:
    if kind is Kind.COMPLAINED:
        return "abuse"
    if kind is Kind.AUTOREPLIED:
        return "autoreply"
    if kind is Kind.UNSUBSCRIBED and said.record is not None:
        return said.record.feedback_type or "mail"
    return said.reason or report.kind.value


def _with_words(event: Event, record: Record | None) -> Event:
    """Add what the remote said."""
    if record is None:
        return event
    return replace(
        event,
        code=record.code,
        enhanced=record.status,
        reply=record.diagnostic,
        host=record.remote_mta,
        provider=record.provider,
    )


def _with_traces(event: Event, report: Report, record: Record | None) -> Event:
    """Add what a person needs to find out whose mail it was."""
    return replace(
        event,
        recipient=record.recipient if record else "",
        message_id=report.returned.message_id,
        subject=report.returned.subject,
    )


def _with_reach(event: Event, wish: Wish) -> Event:
    """Say how far the fact suppresses."""
    if event.kind is not Kind.UNSUBSCRIBED:
        return replace(event, scope=SUPPRESSION_SCOPE)
    return replace(
        event,
        scope=wish.scope,
        sending_domain_id=wish.domain_id,
        campaign_hash=wish.campaign_hash,
    )

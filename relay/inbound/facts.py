"""From a report and the signed address it came to, to the facts it states about a delivery.

Guarantees: the signed address decides which delivery a fact is about; the report's own words
decide only what happened. A report at an address that names no delivery yields nothing here (it
can suppress nobody). Only abuse complains; `not-spam` and `auth-failure` state nothing; a delay is
no bounce.
"""

from __future__ import annotations

from collections.abc import Sequence

from bounces.report import Category, Kind, Record, Report
from bounces.verp import ReturnAddress, ReturnKind
from metrics import events
from metrics.events import Event

SUPPRESSION_SCOPE = "account"  # how far a dead address or a complaint reaches
_UNSUBSCRIBING = frozenset({"opt-out", "opt-out-list"})


def facts(
    report: Report, address: ReturnAddress, at: int, *, scope: str = "domain"
) -> Sequence[Event]:
    """Give the events that a mail at `address` states; `at` is microseconds since the epoch.

    `scope` is how far an unsubscription reaches: account, domain or campaign.
    """
    if not address.delivery:
        return ()
    if address.kind is ReturnKind.UNSUBSCRIBE:
        return (_unsubscribed(address, at, scope, "mailto"),)
    match report.kind:
        case Kind.COMPLAINT:
            return _complaint(report, address, at, scope)
        case Kind.BOUNCE:
            return _bounce(report, address, at)
        case Kind.AUTOREPLY:
            return (_about(address, events.Kind.AUTOREPLIED, at, reason="autoreply"),)
        case Kind.UNSUBSCRIBE:
            return (_unsubscribed(address, at, scope, "mail"),)
        case _:
            return ()


def _bounce(report: Report, address: ReturnAddress, at: int) -> Sequence[Event]:
    record = _weightiest(report.failed)
    if record is None or record.action in ("delayed", "delivered", "relayed", "expanded"):
        return ()
    return (
        _about(
            address,
            events.Kind.BOUNCED,
            at,
            category=record.category.value,
            reason=record.reason,
            code=record.code,
            enhanced=record.status,
            reply=record.diagnostic,
            host=record.remote_mta,
            provider=record.provider,
            returned=True,
            scope=SUPPRESSION_SCOPE if _address_is_dead(record) else "",
        ),
    )


def _address_is_dead(record: Record) -> bool:
    """Code and text agree that nobody is there: only then may a report suppress (events.md)."""
    return record.category is Category.HARD and record.klass == "user-unknown"


def _weightiest(records: Sequence[Record]) -> Record | None:
    """One delivery has one recipient: a hard record outweighs soft ones, else the first counts."""
    for record in records:
        if record.category is Category.HARD:
            return record
    return records[0] if records else None


def _complaint(report: Report, address: ReturnAddress, at: int, scope: str) -> Sequence[Event]:
    kind = report.records[0].feedback_type if report.records else "abuse"
    if kind in _UNSUBSCRIBING:
        return (_unsubscribed(address, at, scope, kind),)
    if kind in ("", "abuse"):
        return (
            _about(address, events.Kind.COMPLAINED, at, reason="abuse", scope=SUPPRESSION_SCOPE),
        )
    return ()


def _unsubscribed(address: ReturnAddress, at: int, scope: str, how: str) -> Event:
    return _about(address, events.Kind.UNSUBSCRIBED, at, reason=how, scope=scope)


def _about(
    address: ReturnAddress,
    kind: events.Kind,
    at: int,
    *,
    category: str = "",
    reason: str = "",
    code: int = 0,
    enhanced: str = "",
    reply: str = "",
    host: str = "",
    provider: str = "",
    returned: bool = False,
    scope: str = "",
) -> Event:
    return Event(
        kind=kind,
        at=at,
        delivery=address.delivery,
        account=address.account,
        category=category,
        reason=reason,
        code=code,
        enhanced=enhanced,
        reply=reply,
        host=host,
        provider=provider,
        returned=returned,
        scope=scope,
    )

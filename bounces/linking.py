"""Whose delivery a report is about, and what follows from it for the recipient.

Guarantees: the order of trust is fixed: the signed return path the report came to, then the
Message-ID of the returned copy, then what we signed inside the copy. Where the signed address and
the text disagree about the recipient, the signature wins and `mismatch` says so. Nothing is ever
suppressed by a report that carries no signature of ours, that is about us rather than about the
address (5.7.x), that is a delay, or whose words only people can read (unless the operator trusts
those). Leaves to others: storing, counting, and the suppression itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from bounces import verp
from bounces.feedback import SUPPRESSING, hides
from bounces.report import Category, Kind, Record, Report
from bounces.verp import ForgedAddressError, ReturnAddress, ReturnKind
from relay.mail.keyring import KeyRing

# Every signed address has the same shape; 64 octets in front of the @, a bounded domain behind it.
_SIGNED = re.compile(r"\b([buf]\+[a-z2-7]{40}@[\w.-]{1,255})", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ids:
    """The delivery and the account a Message-ID was found to belong to."""

    delivery: int
    account: int


ByMessageId = Callable[[str, str], Ids | None]
"""Finds a delivery by Message-ID and the recipient a report names, `""` where it names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A delivery a report is about; `how` is return-path, message-id or copy."""

    delivery: int
    account: int
    how: str
    signed: bool
    kind: ReturnKind = ReturnKind.BOUNCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Consequence:
    """What a linked report means: the event to record and whether the recipient is suppressed.

    `event` is a word of the event vocabulary (bounced, deferred, complained, unsubscribed,
    autoreplied) or `""` where nothing happened to the delivery. `kept_because` says why nobody is
    suppressed, `""` when somebody is.
    """

    event: str
    category: str
    reason: str
    suppress: bool
    kept_because: str = ""
    mismatch: bool = False
    record: Record | None = None


def signed_in(text: str, keyring: KeyRing) -> ReturnAddress | None:
    """Find the first address in a text that we signed, or None."""
    for found in _SIGNED.findall(text[:10_000])[:20]:
        try:
            return verp.read(found.rstrip(".-").encode(), keyring)
        except ForgedAddressError:
            continue
    return None


def link(
    report: Report, envelope: bytes, keyring: KeyRing, by_message_id: ByMessageId | None = None
) -> Link | None:
    """Find the delivery a report is about.

    `envelope` is the address the report came to (RCPT TO, no brackets). None means: keep the report
    as an event of its own; it must not suppress anybody.
    """
    try:
        return _signed(verp.read(envelope, keyring), "return-path")
    except ForgedAddressError:
        pass
    returned = report.returned
    if by_message_id is not None and returned.message_id:
        named = report.records[0] if report.records else None
        recipients = [named.recipient, named.original_recipient] if named else [""]
        for recipient in dict.fromkeys(recipients):
            ids = by_message_id(returned.message_id, recipient)
            if ids is not None:
                return Link(
                    delivery=ids.delivery, account=ids.account, how="message-id", signed=False
                )
    ours = (
        returned.return_path,
        returned.list_unsubscribe,
        returned.feedback_id,
        *(v for _, v in returned.waypost),
    )
    found = signed_in(" ".join(ours), keyring)
    return _signed(found, "copy") if found else None


def _signed(address: ReturnAddress, how: str) -> Link:
    return Link(
        delivery=address.delivery, account=address.account, how=how, signed=True, kind=address.kind
    )


def conclude(
    report: Report, found: Link | None, *, recipient: str = "", trust_words: bool = False
) -> Consequence:
    """Say what a report means for the delivery it was linked to.

    `recipient` is the delivery's own, where the caller has it: the record that names it is taken,
    and a report that names only others is a mismatch. `trust_words` lets bounces without a
    machine-readable part suppress (bad-inputs B05: off).
    """
    if (
        found is not None
        and found.how == "return-path"
        and found.kind is ReturnKind.UNSUBSCRIBE
        and report.kind in (Kind.UNSUBSCRIBE, Kind.OTHER)
    ):
        return Consequence(event="unsubscribed", category="", reason="mailto", suppress=True)
    record, mismatch = _record_of(report, recipient)
    event = _event(report, record)
    kept = _kept_because(report, record, found, trust_words=trust_words)
    return Consequence(
        event=event,
        category=record.category if record else "",
        reason=record.reason if record else "",
        suppress=not kept,
        kept_because=kept,
        mismatch=mismatch,
        record=record,
    )


def _record_of(report: Report, recipient: str) -> tuple[Record | None, bool]:
    if not report.records:
        return None, False
    wanted = recipient.lower()
    for record in report.records:
        if wanted and wanted in (record.recipient.lower(), record.original_recipient.lower()):
            return record, False
    named = any(not hides(record.recipient) for record in report.records)
    return report.records[0], bool(wanted and named)


def _event(report: Report, record: Record | None) -> str:
    if record is None:
        return "unsubscribed" if report.kind is Kind.UNSUBSCRIBE else ""
    match record.category:
        case Category.FEEDBACK:
            if record.feedback_type.startswith("opt-out"):
                return "unsubscribed"
            return "complained" if record.feedback_type in SUPPRESSING else ""
        case Category.IGNORED:
            return "autoreplied"
        case Category.NOT_BOUNCE:
            return ""
        case _:
            return "deferred" if record.action == "delayed" else "bounced"


def _kept_because(
    report: Report, record: Record | None, found: Link | None, *, trust_words: bool
) -> str:
    """Say why nobody is suppressed, or `""`."""
    if found is None:
        return "not linked to a delivery"
    if not found.signed:
        return "linked without a signature of ours"
    if record is None:
        return "" if report.kind is Kind.UNSUBSCRIBE else "says nothing about a recipient"
    if record.category is Category.FEEDBACK:
        return (
            ""
            if record.feedback_type in SUPPRESSING
            else f"feedback of type {record.feedback_type}"
        )
    if record.category is not Category.HARD or record.action == "delayed":
        return "not a hard bounce"
    if not record.address_fault:
        return "code and text do not agree that the address is bad"
    if not (report.machine_readable or trust_words):
        return "only words for people say so"
    return ""

"""The door for whole mails: bytes in, a `Report` out.

Guarantees: `read` never raises and ends quickly for any bytes (everything below it is bounded);
what it cannot read is a report of kind `other`, to be kept and counted. The order of the questions
is the knowledge here: complaint, status part, read receipt, mail system writing for people,
machine answering for a person, unsubscribe.
Leaves to others: whose delivery it is (`bounces.linking`) and what follows from it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from bounces import addresses
from bounces.anatomy import Mail, Part, take_apart, untag, unword
from bounces.compose import failure
from bounces.feedback import is_complaint, read_feedback
from bounces.footers import without_footers
from bounces.origin import answering, challenger, reporter
from bounces.prose import Said, lines_with, vaguer
from bounces.recipients import last_resort, of_group, recipients_of
from bounces.report import Category, Kind, Record, Report, Returned
from bounces.returned import COPY_TYPES, cut, read_returned
from bounces.ses import read_ses
from bounces.stages import stage_of
from bounces.status import (
    STATUS_LINE,
    STATUS_TYPES,
    Group,
    Status,
    looks_like_status,
    read_status,
)

MAX_NOTICE: Final = 32 * 1024
MAX_INSIDE: Final = 2  # a bounce wrapped in a bounce wrapped in a mail, no deeper

_UNSUBSCRIBE = re.compile(r"^\s*(?:re:\s*)?unsubscribe\b", re.IGNORECASE)
_QUOTE_MARK = re.compile(r"^> ?", re.MULTILINE)
_FIELD_LINE = re.compile(
    r"^(?:Received|Return-Path|From|To|Date|Subject|Message-ID):[ \t]", re.IGNORECASE | re.MULTILINE
)
_STATUS_BEGINS = re.compile(
    r"^[ \t>]{0,4}(?:reporting-mta|final-recipient|original-recipient)[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)
_CLOSED: Final = (
    "no longer in use",
    "no longer active",
    "been deactivated",
    "mailbox is closed",
    "mailbox has been closed",
    "no longer exists",
    "no longer monitored and",
)
_SYSTEM_EXITS: Final = frozenset({"71", "72", "73", "74", "77", "78"})  # sysexits(3)
_FORWARDS: Final = (
    "fwd:", "fw:", "[fwd", "wg:", "tr:", "rv:", "enc:", "i:", "vs:", "vb:", "fs:", "doorst:", "pd:",
    "ynt:", "ilt:", "转发", "轉寄", "転送",
)  # fmt: skip
_MDN_TYPE: Final = "message/disposition-notification"
_NOT_READ = re.compile(r"rejected|could not be delivered|quota|undeliver", re.IGNORECASE)


def read(message: bytes) -> Report:
    """Read one mail."""
    return _read(take_apart(message), depth=0)


def _read(mail: Mail, depth: int) -> Report:
    why = is_complaint(mail)
    if why:
        records, returned = read_feedback(mail)
        return Report(
            kind=Kind.COMPLAINT,
            records=records,
            returned=returned,
            why=why,
            machine_readable=True,
            truncated=mail.truncated,
        )
    notice, copy = cut(_notice_text(mail))
    notice = without_footers(notice)
    if challenger(mail.fields):
        return _not_a_bounce(mail, notice, depth)
    status_part = mail.first(*STATUS_TYPES) or _disguised_status(mail)
    status = read_status(status_part.text) if status_part is not None else None
    if status is None and STATUS_LINE.search(notice) and (depth or reporter(mail.fields, notice)):
        status = read_status(notice)  # the boundaries are gone, the fields are still there
        notice = notice[: _STATUS_BEGINS.search(notice).start()]  # type: ignore[union-attr]  # a line of it was found
    if status is not None:
        report = _from_status(mail, status, notice, copy)
        if report is not None:
            return report
    told = read_ses(notice + copy)
    if told is not None:
        return told
    receipt = mail.first(_MDN_TYPE)
    if receipt is not None and not _NOT_READ.search(notice):
        return _receipt(mail, receipt)
    why = reporter(mail.fields, notice)
    if why or status_part is not None or receipt is not None:
        return _from_prose(mail, notice, copy, why or "status part", depth)
    return _not_a_bounce(mail, notice, depth)


def _disguised_status(mail: Mail) -> Part | None:
    """Find a status part that a gateway sent on as an attachment of no known type."""
    for part in mail.parts[:20]:
        if part.media_type.startswith("application/") and looks_like_status(part.text):
            return part
    return None


def _inside_copy(copy: str, depth: int) -> Report | None:
    """Read a bounce that a mail system wrote below its own words, as text."""
    if depth >= MAX_INSIDE or not copy:
        return None
    bare = _QUOTE_MARK.sub("", copy)
    start = _FIELD_LINE.search(bare)
    if start is None:
        return None
    report = _read(take_apart(bare[start.start() :].encode("utf-8", "replace")), depth + 1)
    return (
        report if report.kind is Kind.BOUNCE and any(r.recipient for r in report.records) else None
    )


def _not_a_bounce(mail: Mail, notice: str, depth: int) -> Report:
    answer = answering(mail.fields, notice)
    sender = addresses.find(mail.fields.get("from"))
    if answer:
        closed = _closed_mailbox(notice, sender)
        if closed is not None:
            return Report(
                kind=Kind.BOUNCE,
                records=(closed,),
                why="an auto-reply for a closed mailbox",
                truncated=mail.truncated,
            )
        record = Record(recipient=sender, category=Category.IGNORED, reason=answer)
        return Report(kind=Kind.AUTOREPLY, records=(record,), why=answer, truncated=mail.truncated)
    if _UNSUBSCRIBE.match(unword(mail.fields.get("subject"))) and len(notice) < 2000:
        return Report(kind=Kind.UNSUBSCRIBE, why="subject", truncated=mail.truncated)
    return _forwarded(mail, depth) or Report(
        kind=Kind.OTHER, why="nothing recognised", truncated=mail.truncated
    )


def _forwarded(mail: Mail, depth: int) -> Report | None:
    """Read a bounce that a person attached to a mail: a bounce, but no machine's word for it."""
    if not unword(mail.fields.get("subject")).lower().startswith(_FORWARDS):
        return None
    report = _inside_part(mail, depth)
    if report is None:
        return None
    return replace(report, machine_readable=False, why=f"forwarded: {report.why}")


def _inside_part(mail: Mail, depth: int) -> Report | None:
    """Read a bounce that a gateway wrapped as an attached mail."""
    inner = mail.first("message/rfc822")
    if inner is None or depth >= MAX_INSIDE:
        return None
    report = _read(take_apart(inner.body), depth + 1)
    return (
        report if report.kind is Kind.BOUNCE and any(r.recipient for r in report.records) else None
    )


def _closed_mailbox(notice: str, sender: str) -> Record | None:
    """Read an auto-reply that says the mailbox is no longer used: soft, it suppresses nobody."""
    words = notice[:1000].lower()
    if not any(phrase in words for phrase in _CLOSED):
        return None
    return Record(
        recipient=addresses.find(notice[:1000]) or sender,
        category=Category.SOFT,
        reason="suspend",
        klass="mailbox-disabled",
        rule="auto-reply-closed",
    )


def _notice_text(mail: Mail) -> str:
    """Give the text written for people: the plain parts before the copy, else the HTML ones.

    Where the copy comes first, the text stands behind it.
    """
    copies = [n for n, part in enumerate(mail.parts) if part.media_type in COPY_TYPES]
    if not copies:
        return _text_of(mail.parts)
    before = _text_of(mail.parts[: copies[0]])
    return before if before.strip() else _text_of(mail.parts[copies[0] + 1 :])


def _text_of(parts: Sequence[Part]) -> str:
    plain: list[str] = []
    markup: list[str] = []
    for part in parts:
        if part.media_type == "text/html":
            markup.append(untag(part.text[:MAX_NOTICE]))
        elif part.media_type not in COPY_TYPES and part.media_type.startswith("text/"):
            plain.append(part.text[:MAX_NOTICE])
    chosen = plain if any(p.strip() for p in plain) else markup
    return "\n".join(chosen)[:MAX_NOTICE]


def _from_status(mail: Mail, status: Status, notice: str, copy: str) -> Report | None:
    if not any(group.recipient for group in status.groups):
        return None
    returned = read_returned(mail, copy)
    records: dict[str, Record] = {}
    for group in status.groups:
        record = _of_group(group, status, notice, returned)
        old = records.get(record.recipient.lower())
        if old is None or (old.category is not Category.HARD and record.category is Category.HARD):
            records[record.recipient.lower()] = record
    kept = tuple(records.values())
    failed = any(r.category is not Category.NOT_BOUNCE for r in kept)
    return Report(
        kind=Kind.BOUNCE if failed else Kind.NOTICE,
        records=kept,
        returned=returned,
        why="status part",
        machine_readable=True,
        truncated=mail.truncated or status.truncated,
    )


def _of_group(group: Group, status: Status, notice: str, returned: Returned) -> Record:
    recipient, original = of_group(group, notice, returned, status.reporting_mta)
    record = failure(
        recipient,
        group.diagnostic,
        vaguer(group.recipient, notice),
        original=original,
        status=group.status,
        action=group.action,
        stage=stage_of(group.diagnostic, notice),
        remote_mta=group.remote_mta or status.reporting_mta,
        message_id=returned.message_id,
    )
    if group.diagnostic_type == "x-unix" and record.reason in ("systemerror", "undefined"):
        system = group.diagnostic.strip() in _SYSTEM_EXITS
        # A program of the last host speaks, about its machine or about itself.
        return replace(record, reason="systemerror" if system else "mailererror")
    return record


def _receipt(mail: Mail, part: Part) -> Report:
    status = read_status(part.text)
    found = [g.recipient for g in status.groups if g.recipient] or [
        addresses.find(mail.fields.get("from"))
    ]
    record = Record(recipient=found[0], category=Category.NOT_BOUNCE, reason="mdn")
    return Report(kind=Kind.NOTICE, records=(record,), why="read receipt", truncated=mail.truncated)


def _from_prose(mail: Mail, notice: str, copy: str, why: str, depth: int) -> Report:
    returned = read_returned(mail, copy)
    said = recipients_of(mail, notice, returned)
    if not said:
        inside = _inside_part(mail, depth) or _inside_copy(copy, depth)
        if inside is not None:
            return inside
        said = last_resort(mail, returned) or [Said("", notice)]
    subject = unword(mail.fields.get("subject"))
    records = tuple(
        failure(
            one.recipient,
            one.about,
            (lines_with(one.recipient, notice), notice, subject),
            original=one.original,
            stage=stage_of(one.about, notice),
            message_id=returned.message_id,
        )
        for one in said
    )
    return Report(
        kind=Kind.BOUNCE, records=records, returned=returned, why=why, truncated=mail.truncated
    )

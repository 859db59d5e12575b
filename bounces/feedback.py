"""Complaints: abuse reports (RFC 5965, RFC 6591) and the forms that do without a feedback part.

Guarantees: one record of category feedback per reported recipient, one without a recipient where
the report hides it. `feedback_type` is what the report says (abuse, fraud, opt-out, auth-failure,
not-spam, virus, other); only those of `SUPPRESSING` mean that the mail was not wanted.
"""

from __future__ import annotations

import re
from typing import Final

from bounces import addresses
from bounces.anatomy import Fields, Mail, split
from bounces.report import Category, Record, Returned
from bounces.returned import COPY_TYPES, of_fields

FEEDBACK_TYPE: Final = "message/feedback-report"
SUPPRESSING: Final = frozenset({"abuse", "opt-out", "fraud", "complaint"})
_TYPES: Final = frozenset(
    {
        "abuse",
        "fraud",
        "virus",
        "other",
        "not-spam",
        "opt-out",
        "opt-out-list",
        "auth-failure",
        "dkim",
        "miscategorized",
    }
)
_REDACTED = re.compile(
    r"^(?:redacted|\[?redacted|x+|undisclosed|hidden|anonymous)\b", re.IGNORECASE
)
_JMRP_FROM = re.compile(
    r"staff@(?:hotmail|outlook|live)\.|@(?:fbl|feedback|complaints?|jmrp)\.|feedback-?loop",
    re.IGNORECASE,
)
_JMRP_SUBJECT = re.compile(
    r"^complaint about message from|^(?:fbl|feedback loop)\b|abuse report", re.IGNORECASE
)
_WANTED_TYPE = re.compile(r"^feedback-type[ \t]*:", re.IGNORECASE | re.MULTILINE)
_DELIVERED_TO: Final = (
    "x-original-to",
    "delivered-to",
    "x-envelope-to",
    "envelope-to",
    "x-rcpt-to",
)
_RECEIVED_FOR = re.compile(r"\bfor\s+<?([^\s<>;]{1,128}@[^\s<>;]{1,255})>?", re.IGNORECASE)


def is_complaint(mail: Mail) -> str:
    """Say why a mail is a complaint, or `""`."""
    if mail.first(FEEDBACK_TYPE):
        return "feedback part"
    if "feedback-report" in mail.content_type.lower():
        return "report-type"
    sender = mail.fields.get("from")
    subject = mail.fields.get("subject")
    copy = mail.first(*COPY_TYPES)
    if copy is not None and any(
        _WANTED_TYPE.match(part.text.lstrip()) for part in mail.parts[:5] if part is not copy
    ):
        return "a feedback part of another type"
    if copy is not None and _JMRP_SUBJECT.search(subject):
        return "complaint subject with the copied mail"
    if copy is not None and _JMRP_FROM.search(sender) and "x-hmxmroriginalrecipient" in mail.fields:
        return "JMRP sender"
    if "x-hmxmroriginalrecipient" in mail.fields or (
        copy and "x-hmxmroriginalrecipient" in _copied(mail)
    ):
        return "JMRP field"
    return ""


def _report_fields(mail: Mail) -> Fields:
    part = mail.first(FEEDBACK_TYPE)
    if part is not None:
        # a blank line too many in front or between the fields is tolerated
        text = re.sub(r"\n[ \t]*\n+", "\n", part.text.strip("\n \t"))
        return split(text.encode("utf-8", "replace"))[0]
    for leaf in mail.parts[:10]:
        if leaf.media_type.startswith("text/") and _WANTED_TYPE.search(leaf.text[:20000]):
            text = leaf.text[_WANTED_TYPE.search(leaf.text).start() :]  # type: ignore[union-attr]  # searched above
            return split(text[:20000].encode("utf-8", "replace"))[0]
    return Fields("")


def _copied(mail: Mail) -> Fields:
    part = mail.first(*COPY_TYPES)
    if (
        part is None
    ):  # a copy of another type: the part behind the report, if it begins like a header
        behind = [n for n, p in enumerate(mail.parts) if p.media_type == FEEDBACK_TYPE]
        part = mail.parts[behind[0] + 1] if behind and len(mail.parts) > behind[0] + 1 else None
    if part is None:
        return Fields("")
    fields, rest = split(part.text.lstrip("\n").encode("utf-8", "replace"))
    return fields if len(fields) or not rest else split(rest.lstrip(b"\n"))[0]


def read_feedback(mail: Mail) -> tuple[tuple[Record, ...], Returned]:
    """Read a complaint: its records, and the copied header for linking."""
    said, copied = _report_fields(mail), _copied(mail)
    returned = of_fields(copied)
    # A machine's report says what it is (RFC 5965 section 3.1); without that it means nothing sure.
    # The forms that have no such part are complaints.
    usual = "other" if mail.first(FEEDBACK_TYPE) else "abuse"
    kind = said.get("feedback-type").lower().split(";")[0].strip() or usual
    if kind not in _TYPES:
        kind = "other" if kind else "abuse"
    if "dkim" in kind or said.get("auth-failure"):
        kind = "auth-failure"
    recipients = _recipients(mail, said, copied)
    records = tuple(
        Record(
            recipient=recipient,
            category=Category.FEEDBACK,
            reason="feedback",
            feedback_type=kind,
            original_message_id=returned.message_id,
            remote_mta=said.get("reporting-mta")[:255],
            diagnostic=said.get("user-agent")[:255],
        )
        for recipient in recipients or [""]
    )
    return records, returned


def _recipients(mail: Mail, said: Fields, copied: Fields) -> list[str]:
    """Find who complained: the report's own fields, then the copied header, unfolded."""
    named = [
        addresses.find(v)
        for v in said.all("original-rcpt-to")
        + said.all("removal-recipient")
        + said.all("original-recipient")
    ]
    kept = _visible(named)
    if kept:
        return kept
    told = [
        addresses.find(fields.get("x-hmxmroriginalrecipient")) for fields in (mail.fields, copied)
    ]
    to = addresses.find_all(copied.get("to"))
    delivered = [addresses.find(copied.get(name)) for name in _DELIVERED_TO]
    received = [found[1] for v in copied.all("received") if (found := _RECEIVED_FOR.search(v))]
    for candidates in (told, to if len(to) == 1 else [], delivered, received, to):
        kept = _visible(candidates)
        if kept:
            return kept[:1]
    hidden = (*named, *told, *to, *delivered)
    return [address for address in hidden if address][:1]  # as the report writes it


def hides(recipient: str) -> bool:
    """Tell whether an address is what reporters write in place of one (`redacted@isp.test`)."""
    return not recipient or _REDACTED.match(recipient) is not None


def _visible(found: list[str]) -> list[str]:
    seen: dict[str, str] = {}
    for address in found:
        if not hides(address):
            seen.setdefault(address.lower(), address)
    return list(seen.values())

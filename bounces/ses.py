"""Bounces and complaints as JSON: what Amazon SES sends by SNS, by e-mail or to an HTTP door.

Guarantees: `read_ses` gives None for everything that is not such a notification, and never raises.
Format: AWS "Amazon SNS notification contents for Amazon SES" (`notificationType` or `eventType`
Bounce, Complaint, Delivery), bare or as the `Message` of an SNS envelope.
"""

from __future__ import annotations

from typing import Final

import msgspec

from bounces import addresses
from bounces.compose import failure
from bounces.report import MAX_RECORDS, Category, Kind, Record, Report, Returned

MAX_JSON: Final = 64 * 1024


class _Recipient(msgspec.Struct, rename="camel"):
    email_address: str = ""
    action: str = ""
    status: str = ""
    diagnostic_code: str = ""


class _Bounce(msgspec.Struct, rename="camel"):
    bounce_type: str = ""
    bounce_sub_type: str = ""
    bounced_recipients: list[_Recipient] = []
    reporting_m_t_a: str = msgspec.field(default="", name="reportingMTA")


class _Complaint(msgspec.Struct, rename="camel"):
    complained_recipients: list[_Recipient] = []
    complaint_feedback_type: str | None = None
    complaint_sub_type: str | None = None


class _Mail(msgspec.Struct, rename="camel"):
    message_id: str = ""
    common_headers: dict[str, object] = {}


class _Notification(msgspec.Struct, rename="camel"):
    notification_type: str = ""
    event_type: str = ""
    bounce: _Bounce | None = None
    complaint: _Complaint | None = None
    mail: _Mail | None = None
    message: str = msgspec.field(default="", name="Message")


def read_ses(text: str) -> Report | None:
    """Read a notification out of a mail's text; None if there is none."""
    start = text.find("{")
    if start < 0 or not any(mark in text[:MAX_JSON] for mark in ("otificationType", "eventType")):
        return None
    said = _parse(text[start : text.rfind("}", 0, MAX_JSON) + 1])
    if said is not None and said.message:
        said = _parse(said.message)
    if said is None:
        return None
    returned = Returned(message_id=_original_id(said))
    if said.bounce is not None:
        bounce = said.bounce
        records = tuple(
            _bounced(r, bounce, returned) for r in bounce.bounced_recipients[:MAX_RECORDS]
        )
        return (
            Report(
                kind=Kind.BOUNCE,
                records=records,
                returned=returned,
                why="SES notification",
                machine_readable=True,
            )
            if records
            else None
        )
    if said.complaint is not None:
        records = tuple(
            _complained(r, said.complaint, returned)
            for r in said.complaint.complained_recipients[:MAX_RECORDS]
        )
        return Report(
            kind=Kind.COMPLAINT,
            records=records,
            returned=returned,
            why="SES notification",
            machine_readable=True,
        )
    return Report(
        kind=Kind.NOTICE, returned=returned, why="SES notification", machine_readable=True
    )


def _parse(text: str) -> _Notification | None:
    # mail software folds long lines: a line break inside a JSON text is not part of it
    for candidate in (text, text.replace("\n", "")):
        try:
            return msgspec.json.decode(
                candidate.encode("utf-8", "replace"), type=_Notification, strict=False
            )
        except (msgspec.MsgspecError, RecursionError):
            continue
    return None


def _original_id(said: _Notification) -> str:
    if said.mail is None:
        return ""
    own = said.mail.common_headers.get("messageId")
    return (own if isinstance(own, str) else said.mail.message_id).strip("<> ")[:250]


def _bounced(recipient: _Recipient, bounce: _Bounce, returned: Returned) -> Record:
    kind = f"{bounce.bounce_type} {bounce.bounce_sub_type}"
    suppressed = (
        "address is on the suppression list" if bounce.bounce_sub_type == "Suppressed" else ""
    )
    return failure(
        addresses.find(recipient.email_address) or recipient.email_address[:320],
        recipient.diagnostic_code.partition(";")[2].strip() or recipient.diagnostic_code,
        (suppressed, kind),
        status=recipient.status,
        action=recipient.action,
        remote_mta=bounce.reporting_m_t_a.rpartition(";")[2].strip(),
        message_id=returned.message_id,
    )


def _complained(recipient: _Recipient, complaint: _Complaint, returned: Returned) -> Record:
    return Record(
        recipient=addresses.find(recipient.email_address) or recipient.email_address[:320],
        category=Category.FEEDBACK,
        reason="feedback",
        feedback_type=(complaint.complaint_feedback_type or "abuse").lower()[:40],
        original_message_id=returned.message_id,
    )

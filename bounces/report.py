"""What a mail that came back says: the values every reader in this package produces.

Guarantees: plain frozen values, no behaviour beyond small questions about themselves, every text
bounded in length and free of control characters. A report is what the *sender of the report*
claims; whose delivery it is about is decided in `bounces.linking`, never here.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

MAX_DIAGNOSTIC = 1000  # characters of remote text kept per record
MAX_RECORDS = (
    500  # recipients read from one report; the rest is dropped, `Report.truncated` says so
)


class Kind(enum.StrEnum):
    """What a mail at the inbound door is."""

    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    AUTOREPLY = "autoreply"  # out of office, challenge: a machine answered for the recipient
    UNSUBSCRIBE = "unsubscribe"
    NOTICE = "notice"  # delivered, relayed, expanded, read: nothing failed
    OTHER = "other"  # unrecognised: kept, counted, shown


class Category(enum.StrEnum):
    """What a record means for the address (Adobe's words, and the two that are no bounce)."""

    HARD = "hard"
    SOFT = "soft"
    IGNORED = "ignored"
    FEEDBACK = "feedback"
    NOT_BOUNCE = "not-bounce"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a report says about one recipient.

    `recipient` is the address that failed, `""` where the report hides it; `original_recipient`
    is the address the mail was first sent to, where the report tells both (RFC 3464 section
    2.3.1). `status` is an enhanced code `x.y.z` (RFC 3463) or `""`, `code` an SMTP code or 0,
    `action` a word of RFC 3464 section 2.3.3 or `""`, `feedback_type` a word of RFC 5965 section
    7.3 or `""`. `reason` uses Sisimai's vocabulary, `klass` is one of the 21 classes of
    `bounces.judgement`. `address_fault`: code and text agree that the address is bad.
    """

    recipient: str
    category: Category
    reason: str
    original_recipient: str = ""
    klass: str = ""
    status: str = ""
    code: int = 0
    action: str = ""
    feedback_type: str = ""
    original_message_id: str = ""
    diagnostic: str = ""
    remote_mta: str = ""
    provider: str = ""
    rule: str = ""
    address_fault: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """The header fields of the returned copy that can link a report to a delivery.

    Names are lower case, values unfolded; `waypost` holds every `X-Waypost-*` field.
    """

    message_id: str = ""
    feedback_id: str = ""
    return_path: str = ""
    sender: str = ""
    to: str = ""
    subject: str = ""
    list_unsubscribe: str = ""
    waypost: tuple[tuple[str, str], ...] = ()


NOTHING_RETURNED = Returned()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One mail, read. `why` names what decided its kind, for the person who must explain it.

    `machine_readable`: the records come from a part made for machines (status part, feedback part,
    SES notification), not from words written for people.
    """

    kind: Kind
    records: tuple[Record, ...] = ()
    returned: Returned = NOTHING_RETURNED
    why: str = ""
    machine_readable: bool = False
    truncated: bool = False

    @property
    def failed(self) -> tuple[Record, ...]:
        """Return the records that say a delivery failed or was put off."""
        return tuple(r for r in self.records if r.category in (Category.HARD, Category.SOFT))

"""The machine-readable part of a delivery status notification (RFC 3464, RFC 6533).

Guarantees: any text is read; at most `MAX_RECORDS` groups come out, each with what it says and
nothing invented. Damage seen in real reports is tolerated: groups without a blank line between
them, blank lines inside groups, types left out, addresses in brackets, header fields of a MIME
part in front. Leaves to others: what the status means (`bounces.compose`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from bounces.addresses import typed
from bounces.report import MAX_RECORDS

STATUS_TYPES: Final = ("message/delivery-status", "message/global-delivery-status")
_NAMES: Final = (
    r"original-recipient|final-recipient|action|status|diagnostic-code|remote-mta"
    r"|reporting-mta|x-actual-recipient|x-original-message-id|original-envelope-id|will-retry-until"
    r"|x-display-name|x-supplementary-info|x-postfix-sender|x-sender|x-spam-[\w-]{1,20}"
)
# A line that begins with blanks continues the one before, unless all fields are indented.
_FIELD = re.compile(
    rf"^[ \t]{{0,4}}>?[ ]?({_NAMES})[ \t]*:[ \t]*"
    rf"(.*(?:\n[ \t]+(?!(?:{_NAMES})[ \t]*:)[^\s].*)*)|^[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_FOLD = re.compile(r"\s*\n\s+")
_BEGINS = re.compile(
    r"\s{0,10}(?:reporting-mta|original-envelope-id|final-recipient|original-recipient)[ \t]*:",
    re.IGNORECASE,
)
STATUS_LINE = re.compile(
    r"^[ \t>]{0,4}(?:final|original)-recipient[ \t]*:", re.IGNORECASE | re.MULTILINE
)
_STATUS = re.compile(r"([245])\s*\.\s*(\d{1,3})\s*\.\s*(\d{1,3})")
_WORD = re.compile(r"[a-z]+")
_PER_RECIPIENT: Final = frozenset(
    {"original-recipient", "final-recipient", "action", "status", "diagnostic-code", "remote-mta"}
)
_OTHER_WORDS: Final = {
    "deliverable": "delivered",
    "delay": "delayed",
    "undeliverable": "failed",
}  # Postfix address probes
_ACTIONS: Final = frozenset({"failed", "delayed", "delivered", "relayed", "expanded"})


@dataclass(slots=True)
class Group:
    """What one group of per-recipient fields says; every field may be `""`."""

    final: str = ""
    original: str = ""
    action: str = ""
    status: str = ""
    diagnostic: str = ""
    diagnostic_type: str = ""
    remote_mta: str = ""
    _seen: set[str] = field(default_factory=set)

    @property
    def recipient(self) -> str:
        """Give the address that failed: final, else original."""
        return self.final or self.original


@dataclass(slots=True)
class Status:
    """A whole status part: who reports, and its groups."""

    reporting_mta: str = ""
    groups: list[Group] = field(default_factory=list)
    truncated: bool = False


def looks_like_status(text: str) -> bool:
    """Tell whether a part of another type holds the fields of a status part."""
    return _BEGINS.match(text) is not None and STATUS_LINE.search(text[:20_000]) is not None


def read_status(text: str) -> Status:
    """Read the text of a status part (decoded, LF line ends)."""
    status = Status()
    group = Group()
    blank = False
    for found in _FIELD.finditer(text):
        if not found[1]:
            blank = True
            continue
        name, value = found[1].lower(), _FOLD.sub(" ", found[2]).strip()
        if name == "reporting-mta":
            status.reporting_mta = status.reporting_mta or _after_type(value)
            blank = False
            continue
        if name in _PER_RECIPIENT and _begins_new(group, name, blank=blank):
            if len(status.groups) >= MAX_RECORDS:
                status.truncated = True
                return status
            _keep(status, group)
            group = Group()
        blank = False
        group._seen.add(name)
        _take(group, name, value)
    _keep(status, group)
    return status


def _begins_new(group: Group, name: str, *, blank: bool) -> bool:
    if name in group._seen:
        return True
    if not blank or not group._seen & {"final-recipient", "original-recipient"}:
        return False
    if name == "action":  # a gateway's blank lines between all fields end no group
        return bool(group._seen & {"status", "diagnostic-code"})
    return name in ("final-recipient", "original-recipient", "x-actual-recipient")


def _keep(status: Status, group: Group) -> None:
    if group.recipient or group.diagnostic or (group.action and group.status):
        status.groups.append(group)


def _take(group: Group, name: str, value: str) -> None:
    match name:
        case "final-recipient":
            group.final = typed(value)
        case "original-recipient":
            group.original = typed(value)
        case "action":
            word = _WORD.search(value.lower())
            said = word[0] if word else ""
            group.action = (
                said if said in _ACTIONS else _OTHER_WORDS.get(said, "failed" if said else "")
            )
        case "status":
            found = _STATUS.search(value)
            group.status = ".".join(found.groups()) if found else ""
        case "diagnostic-code":
            kind, semicolon, rest = value.partition(";")
            if semicolon and len(kind) < 30 and " " not in kind.strip():
                group.diagnostic_type, group.diagnostic = kind.strip().lower(), rest.strip()
            else:
                group.diagnostic = value
        case "remote-mta":
            group.remote_mta = _after_type(value)


def _after_type(value: str) -> str:
    kind, semicolon, rest = value.partition(";")
    return (rest if semicolon else kind).strip().strip("[]")[:255]

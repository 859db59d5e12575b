"""What a judged reply or diagnostic means: the words, and the three answers that follow from them.

Guarantees: one closed list of 21 classes; for each class its coarse group, its reason in Sisimai's
vocabulary and its names in the vocabularies of SparkPost and KumoMTA; and one place where class and
code become the answers for the delivery, the recipient and the destination. Which class a text has
is `bounces.classify`'s work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

COARSE: Final[Mapping[str, str]] = {
    "user-unknown": "recipient",
    "mailbox-disabled": "recipient",
    "mailbox-full": "mailbox-full",
    "dns": "domain",
    "blocked": "refused",
    "spam": "refused",
    "policy": "refused",
    "content": "refused",
    "auth-failure": "refused",
    "config-ptr": "refused",
    "sender-rejected": "refused",
    "virus": "refused",
    "relay-denied": "refused",
    "throttled": "try-later",
    "greylisted": "try-later",
    "network": "try-later",
    "system": "try-later",
    "tls": "try-later",
    "too-large": "too-large",
    "protocol": "other",
    "other": "other",
}
CLASSES: Final = tuple(COARSE)

REASONS: Final[Mapping[str, str]] = {
    "user-unknown": "userunknown",
    "mailbox-disabled": "suspend",
    "mailbox-full": "mailboxfull",
    "dns": "hostunknown",
    "blocked": "blocked",
    "spam": "spamdetected",
    "policy": "policyviolation",
    "content": "contenterror",
    "auth-failure": "authfailure",
    "config-ptr": "requireptr",
    "sender-rejected": "rejected",
    "virus": "virusdetected",
    "relay-denied": "norelaying",
    "throttled": "ratelimited",
    "greylisted": "onhold",
    "network": "networkerror",
    "system": "systemerror",
    "tls": "failedstarttls",
    "too-large": "emailtoolarge",
    "protocol": "syntaxerror",
    "other": "undefined",
}

HARD_REASONS: Final = frozenset({"userunknown", "hasmoved", "hostunknown", "notaccept"})

NOTHING_TOLD: Final[Mapping[str, str]] = {}
_LATER: Final = frozenset({"throttled", "greylisted", "network", "system"})
_SLOW: Final = frozenset({"throttled", "blocked", "spam"})
_STOP: Final = frozenset({"blocked", "auth-failure", "config-ptr"})
_OUR_SIDE: Final = frozenset({"banner", "connect", "ehlo", "tls", "auth"})

# (number, name) of SparkPost's classification codes
_SPARKPOST: Final[Mapping[str, tuple[int, str]]] = {
    "user-unknown": (10, "Invalid Recipient"),
    "mailbox-disabled": (10, "Invalid Recipient"),
    "mailbox-full": (22, "Mailbox Full"),
    "dns": (21, "DNS Failure"),
    "blocked": (50, "Mail Block"),
    "spam": (51, "Spam Block"),
    "policy": (25, "Admin Failure"),
    "content": (52, "Spam Content"),
    "auth-failure": (50, "Mail Block"),
    "config-ptr": (50, "Mail Block"),
    "sender-rejected": (50, "Mail Block"),
    "virus": (53, "Prohibited Attachment"),
    "relay-denied": (54, "Relaying Denied"),
    "throttled": (70, "Transient Failure"),
    "greylisted": (70, "Transient Failure"),
    "network": (24, "Timeout"),
    "system": (20, "Soft Bounce"),
    "tls": (40, "Generic Bounce"),
    "too-large": (23, "Too Large"),
    "protocol": (40, "Generic Bounce"),
    "other": (1, "Undetermined"),
}

_KUMOMTA: Final[Mapping[str, str]] = {
    "user-unknown": "InvalidRecipient",
    "mailbox-disabled": "InactiveMailbox",
    "mailbox-full": "QuotaIssues",
    "dns": "BadDomain",
    "blocked": "SpamBlock",
    "spam": "SpamContent",
    "policy": "PolicyRelated",
    "content": "ContentRelated",
    "auth-failure": "AuthenticationFailed",
    "config-ptr": "BadConfiguration",
    "sender-rejected": "InvalidSender",
    "virus": "VirusRelated",
    "relay-denied": "RelayDenied",
    "throttled": "TransientFailure",
    "greylisted": "TransientFailure",
    "network": "NoAnswerFromHost",
    "system": "TransientFailure",
    "tls": "BadConnection",
    "too-large": "ContentRelated",
    "protocol": "ProtocolErrors",
    "other": "Uncategorized",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What one reply means.

    `delivery`: retry, next-host or give-up. `recipient`: suppress or keep. `destination`: ok,
    slow-down or stop. `category`: hard or soft. `rule` names the rule that decided.
    """

    klass: str
    reason: str
    rule: str
    category: str
    delivery: str
    recipient: str
    destination: str

    @property
    def coarse(self) -> str:
        """Give the coarse group of the class (seven of them)."""
        return COARSE[self.klass]

    @property
    def sparkpost(self) -> tuple[int, str]:
        """Give SparkPost's number and name for it."""
        return _SPARKPOST[self.klass]

    @property
    def kumomta(self) -> str:
        """Give KumoMTA's name for it."""
        if self.reason == "expired":
            return "MessageExpired"
        return _KUMOMTA[self.klass]


def answer(
    klass: str,
    reason: str,
    code: int,
    enhanced: str,
    *,
    stage: str = "",
    rule: str = "",
    told: Mapping[str, str] = NOTHING_TOLD,
) -> Judgement:
    """Draw the consequences of a class.

    `code` is an SMTP code, or 0 where a report gives none (then the failure is final), `enhanced`
    the enhanced code or `""`. `told` are answers a rule gives itself. A recipient is only ever
    suppressed for a final reply about the address, and never under 5.7.x: what is about us
    (authentication, reputation, rate, policy) suppresses nobody.
    """
    final = code == 0 or code >= 500
    hard = final and reason in HARD_REASONS
    suppress = hard and _about_the_address(klass, code, enhanced)
    return Judgement(
        klass=klass,
        reason=reason,
        rule=rule,
        category="hard" if hard else "soft",
        delivery=told.get("delivery") or _delivery(klass, code, stage, final=final),
        recipient=told.get("recipient") or ("suppress" if suppress else "keep"),
        destination=told.get("destination") or _destination(klass, final=final),
    )


def _about_the_address(klass: str, code: int, enhanced: str) -> bool:
    """Tell whether code and class agree that the address is bad (RFC 3463 section 3.2)."""
    if enhanced[:4] == "5.7." or enhanced[:1] == "4":
        return False
    return klass == "user-unknown" or (
        klass == "dns" and (enhanced in ("5.1.2", "5.1.10") or code == 556)
    )


def _delivery(klass: str, code: int, stage: str, *, final: bool) -> str:
    if stage in _OUR_SIDE or code == 421:
        return "next-host"  # the host, not the message, was refused: RFC 5321 section 5.1
    if not final or klass in _LATER:
        return "retry"
    return "give-up"


def _destination(klass: str, *, final: bool) -> str:
    if final and klass in _STOP:
        return "stop"
    return "slow-down" if klass in _SLOW else "ok"

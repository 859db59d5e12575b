"""One classifier for SMTP replies at delivery time and for the diagnostics of reports.

Guarantees: a `Judgement` for any input, in time linear in the first `MAX_TEXT` characters of the
text; code, enhanced code and text are weighed together by the rules in `knowledge/`, and only where
no rule speaks do the codes alone decide. 5.1.1 with a text about rates is a rate limit; "no such
user" is believed under any code. Leaves to others: reading replies off a socket, retry times,
and the suppression itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from bounces.judgement import NOTHING_TOLD, Judgement, answer
from bounces.rules import fold, load_rules

MAX_TEXT: Final = 1500

_LINE = re.compile(r"\s*([2-5]\d\d)(?:[ -]+(?:#?([245]\.\d{1,3}\.\d{1,3})(?![\d.])[:,;]?)?|$)")
_CONTINUED = re.compile(r"(?<![\w.])[245]\d\d-[ ]?(?:[245]\.\d{1,3}\.\d{1,3}(?![\d.]))?[ ]?")
_ENHANCED = re.compile(r"(?<![\d.])#?([245]\.\d{1,2}\.\d{1,3})(?![\d.])")
_CODE = re.compile(
    r"(?<![\d.\w-])(4[2-5]\d|5[0-7]\d)(?![ -](?:bytes|octets|kb|lines|messages|seconds|hours))"
    r"(?:[ -]|$|(?=[,.:;)\]'\"]))"
)
_ADDRESS = re.compile(r"<?[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){0,10}>?")
_CLAUSE_END = re.compile(
    r"[.;,!] | \(| \[| -{1,2} | https?:| s=\d| ref: | remote | this | your | please "
)
_SPACE = re.compile(r"\s+")

# What the enhanced code alone says (RFC 3463, RFC 5248), where no rule knew the text.
_BY_ENHANCED: Final[dict[str, tuple[str, str]]] = {
    "1.0": ("user-unknown", "undefined"),  # senders are refused under it too
    "1.1": ("user-unknown", "userunknown"),
    "1.2": ("dns", "hostunknown"),
    "1.3": ("user-unknown", "userunknown"),
    "1.4": ("user-unknown", "undefined"),
    "1.6": ("user-unknown", "hasmoved"),
    "1.7": ("sender-rejected", "rejected"),
    "1.8": ("sender-rejected", "rejected"),
    "1.9": ("system", "systemerror"),
    "1.10": ("dns", "notaccept"),
    "2.0": ("user-unknown", "filtered"),
    "2.1": ("mailbox-disabled", "suspend"),
    "2.2": ("mailbox-full", "mailboxfull"),
    "2.3": ("too-large", "emailtoolarge"),
    "2.4": ("user-unknown", "filtered"),
    "3.0": ("system", "systemerror"),
    "3.1": ("system", "systemfull"),
    "3.2": ("system", "notaccept"),
    "3.3": ("system", "systemerror"),
    "3.4": ("too-large", "emailtoolarge"),
    "3.5": ("system", "systemerror"),
    "4.0": ("network", "networkerror"),
    "4.1": ("network", "expired"),
    "4.2": ("network", "networkerror"),
    "4.3": ("network", "networkerror"),
    "4.4": ("dns", "hostunknown"),
    "4.5": ("system", "systemerror"),
    "4.6": ("network", "networkerror"),
    "4.7": ("network", "expired"),
    "5.0": ("other", "undefined"),
    "5.3": ("throttled", "ratelimited"),
    "7.0": ("policy", "policyviolation"),
    "7.1": ("policy", "policyviolation"),
    "7.2": ("policy", "policyviolation"),
    "7.3": ("policy", "policyviolation"),
    "7.4": ("policy", "securityerror"),
    "7.7": ("content", "contenterror"),
}
_BY_SUBJECT: Final[dict[str, tuple[str, str]]] = {
    "4": ("network", "networkerror"),
    "5": ("protocol", "syntaxerror"),
    "6": ("content", "contenterror"),
    "7": ("policy", "policyviolation"),
}
_BY_CODE: Final[dict[int, tuple[str, str]]] = {
    421: ("system", "systemerror"),
    450: ("system", "systemerror"),
    451: ("system", "systemerror"),
    452: ("system", "systemfull"),
    500: ("protocol", "syntaxerror"),
    501: ("protocol", "syntaxerror"),
    502: ("protocol", "syntaxerror"),
    503: ("protocol", "syntaxerror"),
    504: ("protocol", "syntaxerror"),
    521: ("dns", "notaccept"),
    523: ("too-large", "emailtoolarge"),
    530: ("policy", "securityerror"),
    535: ("policy", "securityerror"),
    538: ("tls", "failedstarttls"),
    551: ("user-unknown", "userunknown"),
    552: ("mailbox-full", "mailboxfull"),
    556: ("dns", "notaccept"),
}
_OTHER: Final = ("other", "undefined")
# "User unknown" said outright is not unsaid by what follows it: the name of a spam filter, a link
# to a policy, a blocklist that has nothing to do with it. The words of RFC 5321 for a mailbox that
# is unavailable are no such saying: they stand in front of every kind of refusal.
_OUTRIGHT: Final = frozenset({"no-such-user-here", "address-and-its-absence"})
# Before RCPT nobody knows whom the mail is for: who connects or who sends is refused.
_BEFORE_RCPT: Final[dict[str, tuple[str, str]]] = {
    "banner": ("blocked", "blocked"),
    "connect": ("blocked", "blocked"),
    "ehlo": ("blocked", "blocked"),
    "mail": ("sender-rejected", "rejected"),
}
_ABOUT_RECIPIENT: Final = frozenset({"user-unknown", "mailbox-disabled"})
_BY_CODES_ALONE = re.compile(r"(?:enhanced|code|nothing|weak)-")
_SAYS_NOTHING: Final = frozenset({"policy", "system", "other", "blocked"})
_HOST_CODES: Final = frozenset({521, 556})  # RFC 7504: takes no mail at all
_OUR_CONDUCT: Final = frozenset({502, 503, 504, 530, 534, 535, 538})  # RFC 5321, RFC 4954
_ASIDES: Final = frozenset(
    {"spam", "virus", "blocked", "policy", "content", "mailbox-full", "system"}
)


def classify(
    code: int, enhanced: str, text: str, *, stage: str = "", provider: str = ""
) -> Judgement:
    """Say what a reply means.

    `code` is the SMTP code (0 where a report gives none), `enhanced` the enhanced code or `""`,
    `text` the rest of the reply, its lines joined. `stage` is banner, connect, ehlo, tls, auth,
    mail, rcpt, data or dot; `provider` a provider's name in lower case; `""` where not known.
    """
    folded = prepare(text)
    digits = str(code) if code else ""
    rule = load_rules().first(folded, digits, enhanced, stage, provider)
    if rule is not None and rule.klass == "user-unknown" and _is_not_said_of_one(code, enhanced):
        rule = None
    if rule is not None and rule.klass in _ASIDES:
        clause = _first_clause(folded)
        plain = load_rules().first(clause, digits, enhanced, stage, provider) if clause else None
        if plain is not None and plain.id in _OUTRIGHT and "unavailable" not in clause:
            rule = plain
    told: Mapping[str, str] = NOTHING_TOLD
    if rule is not None:
        klass, reason, rule_id, told = rule.klass, rule.reason, rule.id, rule.told
    else:
        klass, reason, rule_id = _by_codes(code, enhanced)
    before = _BEFORE_RCPT.get(stage)
    if before is not None and _is_vague(klass, rule_id, code):
        klass, reason, rule_id = *before, f"stage-{stage}"
    return answer(klass, reason, code, enhanced, stage=stage, rule=rule_id, told=told)


def _is_not_said_of_one(code: int, enhanced: str) -> bool:
    """Tell whether a code cannot be about a recipient: wrong sequence, or our own login fails."""
    return code in _OUR_CONDUCT and enhanced[2:4] not in ("1.", "2.")


def _is_vague(klass: str, rule_id: str, code: int) -> bool:
    """Tell whether the stage knows better: words about a recipient, or codes that say nothing."""
    if klass in _ABOUT_RECIPIENT:
        return True
    if 0 < code < 500 or code in _HOST_CODES:
        return False
    return klass in _SAYS_NOTHING and _BY_CODES_ALONE.match(rule_id) is not None


def prepare(text: str) -> str:
    """Fold a reply text for the rules: bounded, one line, addresses as `<@>`."""
    short = _SPACE.sub(" ", text[:MAX_TEXT])
    return fold(_ADDRESS.sub("<@>", _CONTINUED.sub("", short)))


def _first_clause(folded: str) -> str:
    """Give the first clause of a reply where more follows it, else `""`."""
    found = _CLAUSE_END.search(folded, 12)
    return folded[: found.start()] if found else ""


def _by_codes(code: int, enhanced: str) -> tuple[str, str, str]:
    detail = enhanced[2:]
    if detail and detail != "0.0":
        klass, reason = _BY_ENHANCED.get(detail) or _BY_SUBJECT.get(detail[:1]) or _OTHER
        if detail == "4.4" and enhanced[:1] == "4":
            klass, reason = "network", "networkerror"  # not to be routed just now
        if klass != "other":
            return klass, reason, f"enhanced-{detail}"
    if code in _BY_CODE:
        return *_BY_CODE[code], f"code-{code}"
    return *_OTHER, "nothing-known"


def codes_in(text: str) -> tuple[int, str]:
    """Find the SMTP code and the enhanced code in a diagnostic text; 0 and `""` where absent."""
    short = text[:MAX_TEXT]
    found = _CODE.search(short)
    code = int(found[1]) if found else 0
    enhanced = _ENHANCED.search(short, found.start() if found else 0) or _ENHANCED.search(short)
    return code, enhanced[1] if enhanced else ""


def classify_line(reply: str) -> Judgement:
    """Judge a reply written on one line: `550 5.1.1 No such user`, or text without codes."""
    found = _LINE.match(reply)
    if found is None:
        code, enhanced = codes_in(reply)
        return classify(code, enhanced, reply)
    rest = reply[found.end() :]
    return classify(int(found[1]), found[2] or codes_in(rest)[1], rest)

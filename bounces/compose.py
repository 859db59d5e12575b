"""From what a report says about a recipient to a record: texts weighed, category and reason fixed.

Guarantees: one record per call, never an exception. The most specific text is asked first (the
diagnostic code, then the text about this recipient, then the whole notice), and a vaguer one only
where the rules found nothing sure. A delay is soft whatever it says; a failure reported with a
temporary status is soft, and final only where the text says the address does not exist.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from bounces.classify import classify, codes_in
from bounces.judgement import Judgement
from bounces.report import MAX_DIAGNOSTIC, Category, Record

_UNSURE = re.compile(r"^(?:enhanced-|code-|nothing-|weak-|stage-)")
_QUOTED = re.compile(
    r"(?:[:;'\"\u2018(]|<<<|>>>|\bOut:)\s{1,6}(?=[45]\d\d[ -])|[:;'\"(](?=[45]\d\d[ -])"
    r"|\b(?:said|replied|responded|answered):\s"
)
_PARAGRAPH = re.compile(r"\n[ \t]*\n")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_PROVIDERS: Final = (
    ("google", ("google.com", "gmail", "googlemail", "gsmtp")),
    ("microsoft", ("outlook.com", "hotmail", "live.com", "microsoft", "office365", "msn.com")),
    ("yahoo", ("yahoo", "yahoodns", "aol.", "verizonmedia", "ymail")),
    ("apple", ("icloud.com", "me.com", "apple.com", "mac.com")),
    ("tencent", ("qq.com", "weixin", "exmail", "foxmail")),
    ("netease", ("163.com", "126.com", "netease", "yeah.net", "188.com")),
    ("orange", ("orange.fr", "wanadoo", "laposte.net")),
    ("comcast", ("comcast",)),
    ("proofpoint", ("pphosted", "ppe-hosted", "proofpoint")),
    ("mimecast", ("mimecast",)),
    ("yandex", ("yandex",)),
    ("mail.ru", ("mail.ru", "bk.ru", "inbox.ru")),
    ("gmx", ("gmx.", "web.de", "kundenserver", "1and1", "perfora")),
    ("zoho", ("zoho",)),
    ("docomo", ("docomo.ne.jp",)),
    ("kddi", ("ezweb", "au.com", "kddi")),
)
MAX_SPECIFIC: Final = 1600  # longer texts are whole notices
_NOT_ADDRESS: Final = frozenset({"2.0", "2.1", "7.1"})
_LATE: Final = frozenset({"mail.ru", "tencent", "yahoo"})  # say "no such user" after DATA
_PRECISE: Final = frozenset(["1.1", "1.2", "1.3", "1.6", "1.10", "2.2", "2.3", "3.4", "4.7"])
_NOT_FAILED: Final = frozenset({"delivered", "relayed", "expanded"})


def provider_of(*hints: str) -> str:
    """Name the provider that hosts, remote names or diagnostics give away, or `""`."""
    seen = " ".join(hints)[:1000].lower()
    for name, marks in _PROVIDERS:
        if any(mark in seen for mark in marks):
            return name
    return ""


def printable(text: str, limit: int = MAX_DIAGNOSTIC) -> str:
    """Put remote text on one bounded line without control characters."""
    return _CONTROL.sub(" ", text[: limit * 2]).strip()[:limit]


def _is_precise(status: str) -> bool:
    return status[2:] in _PRECISE


def _is_filter(enhanced: str, stage: str, provider: str) -> bool:
    """Tell whether "unknown user" is what a recipient's filter says, and no directory.

    Either a mailbox's or a policy's code, and nothing shows RCPT; or an answer to the data of a
    host that had taken the address at RCPT, unless it is known to look addresses up only then.
    """
    if stage == "rcpt":
        return False
    if enhanced[2:] in _NOT_ADDRESS:
        return True
    return stage == "dot" and enhanced[2:] in ("", "0.0") and provider not in _LATE


def _agreed(code: int, status: str) -> int:
    """Let the status of a report decide what is final: a number in a text may be anything."""
    return 0 if code and status[:1] == "5" and code < 500 else code


def _replies(text: str) -> Sequence[str]:
    """Give the SMTP reply a text quotes, if any, then the text: what stands around misleads.

    Of each the first paragraph comes first, for the same reason.
    """
    found = _QUOTED.search(text)
    pieces = (text[found.end() :], text) if found else (text,)
    out: list[str] = []
    for piece in pieces:
        paragraph = _PARAGRAPH.search(piece, 20)
        if paragraph and len(piece) <= MAX_SPECIFIC:
            out.append(piece[: paragraph.start()])
        out.append(piece)
    return out


def weigh(
    texts: Iterable[str], status: str, provider: str, stage: str = ""
) -> tuple[Judgement, int, str]:
    """Judge texts from the most to the least specific; give judgement, code and enhanced code."""
    first: Judgement | None = None
    code, enhanced = 0, status
    for text in (reply for whole in texts if whole for reply in _replies(whole)):
        if first is not None and len(text) > MAX_SPECIFIC and _is_precise(status):
            break  # a whole notice does not speak against a code that names the fault
        said, found = codes_in(text)
        code = code or said
        if not enhanced or enhanced.endswith(".0.0"):
            enhanced = found or enhanced
        judged = classify(
            _agreed(said or code, status), found or enhanced, text, stage=stage, provider=provider
        )
        if not _UNSURE.match(judged.rule):
            return judged, code, enhanced
        if first is None or first.klass == "other":
            first = judged
    if first is None:
        first = classify(_agreed(code, status), enhanced, "", stage=stage, provider=provider)
    return first, code, enhanced


def _remember(texts: Iterable[str], seen: list[str]) -> Iterator[str]:
    for text in texts:
        seen.append(text)
        yield text


def failure(
    recipient: str,
    diagnostic: str,
    vaguer: Iterable[str] = (),
    *,
    original: str = "",
    status: str = "",
    action: str = "",
    remote_mta: str = "",
    message_id: str = "",
    stage: str = "",
) -> Record:
    """Make the record of a recipient that a report says something about.

    `diagnostic` is the most specific text; `vaguer` ones are drawn while nothing sure was said.
    """
    provider = provider_of(remote_mta, recipient.rpartition("@")[2], diagnostic)
    seen: list[str] = []
    judged, code, enhanced = weigh(
        _remember(chain((diagnostic,), vaguer), seen), status, provider, stage
    )
    if action in _NOT_FAILED:
        category, reason = Category.NOT_BOUNCE, "delivered"
    else:
        category, reason = Category(judged.category), judged.reason
        if action == "delayed" or (status[:1] == "4" and reason not in ("userunknown", "hasmoved")):
            category = Category.SOFT
    if reason == "userunknown" and code == 550 and _is_filter(enhanced, stage, provider):
        reason = "filtered"
    return Record(
        recipient=recipient,
        original_recipient=original,
        category=category,
        reason=reason,
        klass=judged.klass,
        status=enhanced,
        code=code,
        action=action,
        original_message_id=message_id,
        diagnostic=printable(diagnostic or next((t for t in seen if t.strip()), "")),
        remote_mta=printable(remote_mta, 255),
        provider=provider,
        rule=judged.rule,
        address_fault=category is Category.HARD
        and judged.recipient == "suppress"
        and enhanced[:4] != "5.7.",
    )

"""The shapes in which people's notices name a recipient, as expressions that run in linear time.

Guarantees: every repetition is bounded or runs over a class that its follower cannot match, so no
text makes them backtrack. Only the words ignore case, not the address: that compiles faster.
Group `a` (or `b`) is the address. What the shapes mean, and which is
believed first, is `bounces.prose`'s business.
"""

from __future__ import annotations

import re
from typing import Final

from bounces.addresses import ADDRESS

_A: Final = rf"(?P<a>{ADDRESS})"
_OPEN: Final = r"[<\"'(\[]{0,2}"
_BULLET: Final = r"(?:[*\u2022o+-]{1,2}[ \t]+|\d{1,3}[.)][ \t]+)?"
_VERDICT: Final = (
    r"(?i:invalid|error|unknown|user|mailbox|recipient|is|was|has|does|could|cannot|not|no)\b"
)

LEADING = re.compile(
    rf"^[ \t>]*{_BULLET}{_OPEN}(?i:smtp:|mailto:)?{_A}[>\"')\]]{{0,2}}(?:<mailto:[^>\s]{{1,300}}>)?"
    r"(?P<rest>[ \t]*(?:[:;,(]|\.{2,3}|-{1,2}[ \t>]|[ \t](?i:on)[ \t]|[ \t]*$|[ \t]+(?:\[|\(|"
    rf"{_VERDICT}))[^\n]*)$",
    re.MULTILINE,
)
"""An address that begins a line: `<ann@inbox.test>: ...`, `* ann@x.test`, `ann@x.test (why)`."""

_LABELS: Final = "|".join(
    (
        r"failed[ -]recipients?|final-recipient|recipient(?:s|\(s\))?(?: address)?",
        r"(?:intended|original) recipient|addressee|to address|deliver(?:y)? to|to",
        r"email address|e-mail address|address|user",
        r"destinataires?|empf[a\u00e4]nger|destinatarios?|destinatari|mottagare|ontvanger|odbiorca",
        r"\u6536\u4ef6\u4eba(?=[ \t]*[:\uff1a]?[ \t]+)|\u6536\u4ef6\u5730\u5740",  # Chinese
        r"\u5b9b\u5148|\u9001\u4fe1\u5148|\u53d7\u4fe1\u8005|\u6536\u4fe1\u4eba",  # Japanese
    )
)
LABELLED = re.compile(
    rf"(?:^|(?<!rcpt)(?<!RCPT)[ \t*])(?i:{_LABELS})(?:[ \t]*[:=\uff1a][ \t]*|[ \t]+is[ \t]+)"
    rf"{_OPEN}(?i:smtp:|rfc822;[ \t]*)?{_A}",
    re.MULTILINE,
)
"""An address behind a label: `Recipient: <ann@inbox.test>`."""

DIALOGUE = re.compile(
    rf"(?:(?i:rcpt[ \t]+to)[ \t]*:[ \t]*<?{_A}"
    rf"|^[ \t<>]*[45]\d\d[ -][^\n@]{{0,80}}?<?(?P<b>{ADDRESS}))",
    re.MULTILINE,
)
"""An address in a transcript: `RCPT TO:<ann@inbox.test>`, `550 <ann@inbox.test>... unknown`."""

SENTENCE = re.compile(
    r"(?i:(?:message|mail|e-?mail)[ \t\n]+(?=[a-z])"  # in brackets right behind: a Message-ID
    r"|(?:deliver(?:y|ed)?|sent|send|addressed|destined|written|posted"
    r"|undeliverable|recipient|user|account|address|mailbox|person|list|reach|for|to|of)[ \t\n]+)"
    r"(?i:was |were |been |the |your |a |an |address |recipient |user |mailbox |to |for |of |email "
    rf"|e-mail ){{0,4}}{_OPEN}{_A}"
)
"""An address in a sentence: `your message to ann@inbox.test`."""

LIST = re.compile(
    r"(?i:members? of|post(?:ing)? to|subscribed to)(?i:[ \t\n]+(?:this|the|our|a))?"
    rf"(?i:[ \t\n]+mailing)?(?i:[ \t\n]+(?:list|group))[ \t\n]*{_OPEN}[ \t]?{_A}"
)
"""A list that takes mail of its members only: `You are not a member of the list <a@lists.test>`."""

FURTHER = re.compile(
    rf"[>\"')\]]{{0,2}}[ \t]*(?:[,;]|[ \t]and|[ \t]und|[ \t]et|[ \t]y|[ \t]e)[ \t\n]+{_OPEN}{_A}"
)
"""One more address right behind another: `ann@inbox.test, bob@inbox.test and eve@inbox.test`."""

CARRYING_ON: Final = frozenset({"to", "at", "contact", "by", "from", "with", "or", "and", "via"})
"""Last words of a line whose sentence goes on in the next: an address there is part of it."""

ENDS_SENTENCE = re.compile(r"[>\"')\]]{0,2}[ \t]*[.!]?[ \t]*(?:\n|\Z)")
"""Nothing more is said behind an address."""

REPLY = re.compile(r"\b[45]\d\d[ -]|\b[45]\.\d{1,2}\.\d|[\"\u201c\u201e]\w")
"""A text that quotes a reply: by its code, or in quotation marks."""

ASIDE = re.compile(
    r"\((?:expanded from|(?:ultimately )?generated from|originally addressed to|orig(?:inal)? to)"
    r"[: ]*<?([^)\s>]{1,320})>?:?\)|\boriginally addressed to <?([^)\s>]{1,320})",
    re.IGNORECASE,
)
"""The address a failed one was made from: `(expanded from: <ann@inbox.test>)`."""

DAEMONS = re.compile(r"^(?:postmaster|mailer-daemon|abuse)@", re.IGNORECASE)
"""Addresses that a notice names as its own, also at the beginning of a line."""

OFFICES = re.compile(
    r"^(?:postmaster|mailer-daemon|abuse|support|help(?:desk)?|admin(?:istrator)?|webmaster"
    r"|hostmaster|info|contact|noc|root|tobr|feedback|unblock\w*|removal|delist\w*|security"
    r"|spam\w*)@",
    re.IGNORECASE,
)
"""Addresses that sentences give for help, or for complaints about the notice."""

DIVIDER = re.compile(r"^[ \t]*[-=*_]{3,}", re.MULTILINE)
"""A line of dashes: what was said about a recipient ends there."""

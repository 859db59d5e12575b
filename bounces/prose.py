"""The general reader of bounces that were written for people.

Guarantees: finds who failed and what is said about each, in any of the shapes mail systems use,
without knowing the system: an address at the beginning of a line, behind a label, in an SMTP
dialogue, in a sentence; the strongest shape present decides. Addresses of the reporter and of the
sender are not taken from sentences. At most `MAX_RECORDS` recipients; work linear in the text.
Leaves to others: whether the mail is a bounce at all, and what the words mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from bounces import addresses
from bounces.addresses import ADDRESS
from bounces.report import MAX_RECORDS

MAX_ABOUT: Final = 1500  # characters kept as what is said about one recipient

_A = rf"(?P<a>{ADDRESS})"
_LEAD = re.compile(
    rf"^(?P<in>[ \t>]*)(?:[*\u2022o+-]{{1,2}}[ \t]+|\d{{1,3}}[.)][ \t]+)?[<\"'(\[]{{0,2}}(?:smtp:|mailto:)?{_A}[>\"')\]]{{0,2}}(?:<mailto:[^>\s]{{1,300}}>)?"
    r"(?P<rest>[ \t]*(?:[:;,(]|\.{2,3}|-{1,2}[ \t>]|[ \t]on[ \t]|[ \t]*$|[ \t]+(?:\[|\(|(?:invalid|error|unknown|user|mailbox|recipient|is|was|has|does|could|cannot|not|no)\b))[^\n]*)$",
    re.MULTILINE | re.IGNORECASE,
)
_LABEL = re.compile(
    r"(?:^|(?<!rcpt)[ \t*])(?:failed[ -]recipients?|final-recipient|recipient(?:s|\(s\))?(?: address)?|(?:intended|original) recipient|addressee|to address|deliver(?:y)? to|to|email address|e-mail address|address|user"
    r"|destinataires?|empf[a\u00e4]nger|destinatarios?|destinatari|mottagare|ontvanger|odbiorca|\u6536\u4ef6\u4eba(?=[ \t]*[:\uff1a]?[ \t]+)|\u6536\u4ef6\u5730\u5740|\u5b9b\u5148|\u9001\u4fe1\u5148|\u53d7\u4fe1\u8005|\u6536\u4fe1\u4eba)"
    rf"(?:[ \t]*[:=\uff1a][ \t]*|[ \t]+is[ \t]+)[<\"'(\[]{{0,2}}(?:smtp:|rfc822;[ \t]*)?{_A}",
    re.IGNORECASE | re.MULTILINE,
)
_DIALOGUE = re.compile(
    rf"(?:rcpt[ \t]+to[ \t]*:[ \t]*<?{_A}|^[ \t<>]*[45]\d\d[ -][^\n@]{{0,80}}?<?(?P<b>{ADDRESS}))",
    re.IGNORECASE | re.MULTILINE,
)
_SENTENCE = re.compile(
    r"(?:(?:message|mail|e-?mail|deliver(?:y|ed)?|sent|send|addressed|destined|written|posted|undeliverable|recipient|user|account|address|mailbox|person|list|reach|for|to|of)"
    rf"[ \t\n]+(?:was |were |been |the |your |a |an |address |recipient |user |mailbox |to |for |of |email |e-mail ){{0,4}})[<\"'(\[]{{0,2}}{_A}",
    re.IGNORECASE,
)
_ASIDE = re.compile(
    r"\((?:expanded from|generated from|originally addressed to|ultimately generated from|orig(?:inal)? to)[: ]*<?([^)\s>]{1,320})>?:?\)|\boriginally addressed to <?([^)\s>]{1,320})",
    re.IGNORECASE,
)
_HELP: Final = re.compile(
    r"^(?:postmaster|mailer-daemon|abuse|support|help(?:desk)?|admin(?:istrator)?|webmaster|hostmaster|info|contact|noc|root|tobr|feedback|unblock\w*|removal|delist\w*|security|spam\w*)@",
    re.IGNORECASE,
)
_DIVIDER = re.compile(r"^[ \t]*[-=*_]{3,}", re.MULTILINE)


@dataclass(slots=True)
class Said:
    """One recipient found in a text, what was said about it, and the address it was expanded from."""

    recipient: str
    about: str = ""
    original: str = ""


@dataclass(slots=True)
class Notice:
    """The recipients of a text, and the shape that gave them."""

    shape: str = ""
    said: list[Said] = field(default_factory=list)


def read_notice(text: str, *, strangers: frozenset[str]) -> Notice:
    """Read the notice part of a bounce. `strangers`: folded addresses that are nobody's recipient."""
    asides = {a.lower() for pair in _ASIDE.findall(text) for a in pair if a}
    hidden = strangers | asides
    for shape, reader in (
        ("lead", _leading),
        ("label", _labelled),
        ("dialogue", _dialogue),
        ("sentence", _sentences),
    ):
        said = reader(text, hidden)
        if said:
            return Notice(shape, said[:MAX_RECORDS])
    for address in asides - strangers:
        return Notice("aside", [Said(address, text[:MAX_ABOUT])])
    return Notice()


def _leading(text: str, hidden: frozenset[str]) -> list[Said]:
    """Read addresses that begin a line (qmail, Postfix, Exim, Exchange and all who copy them)."""
    found = [m for m in _LEAD.finditer(text) if addresses.clean(m["a"])]
    marked = [m for m in found if m["rest"].strip()[:1] == ":"]
    out: dict[str, Said] = {}
    for number, match in enumerate(found):
        address = addresses.clean(match["a"])
        key = address.lower()
        if (key in hidden or _HELP.match(key)) and match not in marked:
            continue
        end = found[number + 1].start() if number + 1 < len(found) else len(text)
        about = _block(text, match.end(), end)
        aside = _ASIDE.search(match["rest"] + about[:200])
        said = out.setdefault(key, Said(address))
        said.original = said.original or (addresses.clean(aside[1] or aside[2]) if aside else "")
        said.about = (said.about + " " + match["rest"].lstrip(" \t:") + " " + about)[:MAX_ABOUT]
    return list(out.values())


def _block(text: str, start: int, end: int) -> str:
    """Take what is said behind an address, up to a divider line."""
    block = text[start : min(end, start + MAX_ABOUT)]
    divider = _DIVIDER.search(block)
    return block[: divider.start()] if divider else block


def _labelled(text: str, hidden: frozenset[str]) -> list[Said]:
    return _collect(
        text, [(m["a"], m.end()) for m in _LABEL.finditer(text)], hidden, start_at_line=False
    )


def _dialogue(text: str, hidden: frozenset[str]) -> list[Said]:
    """Read addresses out of an SMTP transcript, each with the replies around it."""
    out: dict[str, Said] = {}
    hits = list(_DIALOGUE.finditer(text))
    for number, match in enumerate(hits):
        address = addresses.clean(match["a"] or match["b"])
        if not address or address.lower() in hidden:
            continue
        if match["a"]:  # RCPT TO: the reply comes behind it
            about = _block(
                text,
                match.start(),
                hits[number + 1].start() if number + 1 < len(hits) else len(text),
            )
        else:  # a reply that names the address: this line, and the raw reply it was made from
            about = _line_and_raw(text, match.start())
        said = out.setdefault(address.lower(), Said(address))
        said.about = (said.about + " " + about)[:MAX_ABOUT]
    return list(out.values())


def _line_and_raw(text: str, place: int) -> str:
    end = text.find("\n", place)
    start = text.rfind("\n", 0, max(place, 0))
    before = text.rfind("\n", 0, max(start, 0)) + 1
    raw = text[before:start].lstrip() if start > 0 else ""
    line = text[place : end if end >= 0 else len(text)][:MAX_ABOUT]
    return f"{line} {raw[3:]}" if raw.startswith("<<<") else line


def _sentences(text: str, hidden: frozenset[str]) -> list[Said]:
    said = _collect(
        text, [(m["a"], m.end()) for m in _SENTENCE.finditer(text)], hidden, start_at_line=False
    )
    if said:
        return said[:1]
    return [
        Said(a)
        for a in addresses.find_all(text[:20000])
        if a.lower() not in hidden and not _HELP.match(a)
    ]


def _collect(
    text: str, hits: list[tuple[str, int]], hidden: frozenset[str], *, start_at_line: bool
) -> list[Said]:
    out: dict[str, Said] = {}
    for number, (raw, place) in enumerate(hits):
        address = addresses.clean(raw)
        key = address.lower()
        if not address or key in hidden or (_HELP.match(key) and not start_at_line):
            continue
        end = hits[number + 1][1] if number + 1 < len(hits) else len(text)
        said = out.setdefault(key, Said(address))
        said.about = (said.about + " " + _block(text, place, end))[:MAX_ABOUT]
    return list(out.values())


def vaguer(recipient: str, notice: str) -> Iterator[str]:
    """Draw what a notice says: about the address, in the lines that name it, altogether."""
    key = recipient.lower()
    for said in read_notice(notice, strangers=frozenset()).said:
        if said.recipient.lower() == key:
            yield said.about
    yield lines_with(recipient, notice)
    yield notice


def lines_with(recipient: str, notice: str) -> str:
    """Give the lines of the notice that speak of an address, each with the one behind it."""
    key = recipient.lower()
    if not key:
        return ""
    lines = notice.split("\n")[:400]
    chosen = [
        f"{line} {following}"
        for line, following in zip(lines, [*lines[1:], ""], strict=True)
        if key in line.lower()
    ]
    return " ".join(chosen)[:1500]

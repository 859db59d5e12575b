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
from bounces.report import MAX_RECORDS
from bounces.shapes import (
    ASIDE,
    CARRYING_ON,
    DAEMONS,
    DIALOGUE,
    DIVIDER,
    ENDS_SENTENCE,
    FURTHER,
    LABELLED,
    LEADING,
    LIST,
    OFFICES,
    REPLY,
    SENTENCE,
)

MAX_BEFORE: Final = 400  # characters in front of an address that may hold the reply about it
MAX_FURTHER: Final = 50  # addresses read off one enumeration
LOOK_FOR_LIST: Final = 1000  # characters in which a list says that it knows only its members
MAX_ABOUT: Final = 1500  # characters kept as what is said about one recipient


@dataclass(slots=True)
class Said:
    """A recipient found in a text, what is said about it, and the address it was made from."""

    recipient: str
    about: str = ""
    original: str = ""


@dataclass(slots=True)
class Notice:
    """The recipients of a text, and the shape that gave them."""

    shape: str = ""
    said: list[Said] = field(default_factory=list)


def read_notice(text: str, *, strangers: frozenset[str]) -> Notice:
    """Read the notice part of a bounce. `strangers` are addresses, folded, that never failed."""
    asides = {a.lower() for pair in ASIDE.findall(text) for a in pair if a}
    hidden = strangers | asides
    for shape, reader in (
        ("list", _list),
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


def _list(text: str, hidden: frozenset[str]) -> list[Said]:
    """Read the list that refused a stranger, if it is the first address the text names."""
    match = LIST.search(text[:LOOK_FOR_LIST])
    if match is None or "@" in text[: match.start()]:
        return []
    address = addresses.clean(match["a"])
    return [Said(address, text[:MAX_ABOUT])] if address else []


def _leading(text: str, hidden: frozenset[str]) -> list[Said]:
    """Read addresses that begin a line (qmail, Postfix, Exim, Exchange and all who copy them)."""
    found = _listed(
        [
            m
            for m in LEADING.finditer(text)
            if addresses.clean(m["a"]) and not _behind_label(text, m.start())
        ],
        text,
    )
    marked = [m for m in found if m["rest"].strip()[:1] == ":"]
    out: dict[str, Said] = {}
    for number, match in enumerate(found):
        address = addresses.clean(match["a"])
        key = address.lower()
        if (key in hidden or DAEMONS.match(key)) and match not in marked:
            continue
        end = found[number + 1].start() if number + 1 < len(found) else len(text)
        about = _block(text, match.end(), end)
        aside = ASIDE.search(match["rest"] + about[:200])
        said = out.setdefault(key, Said(address))
        said.original = said.original or (addresses.clean(aside[1] or aside[2]) if aside else "")
        said.about = (said.about + " " + match["rest"].lstrip(" \t:") + " " + about)[:MAX_ABOUT]
        for beside in _further(text, match.end("a"), hidden):
            out.setdefault(beside.lower(), Said(beside, said.about))
    return list(out.values())


def _listed(found: list[re.Match[str]], text: str) -> list[re.Match[str]]:
    """Leave out addresses that a sentence carried into a new line, if others stand on their own."""
    own = [m for m in found if m["rest"].strip() or not _carries_on(text, m.start())]
    return own or found


def _behind_label(text: str, place: int) -> bool:
    """Tell whether the line in front of a place is a label with addresses that go on here."""
    line = text[max(0, place - 400) : place].rstrip()[-400:].rpartition("\n")[2]
    return line.endswith(",") and LABELLED.match(line.lstrip(" \t>")) is not None


def _carries_on(text: str, place: int) -> bool:
    """Tell whether the line in front of a place ends in the middle of a sentence."""
    line = text[max(0, place - 100) : place].rstrip(" \t")[:-1].rpartition("\n")[2].split()
    return len(line) > 2 and line[-1].lower() in CARRYING_ON


def _further(text: str, place: int, hidden: frozenset[str]) -> list[str]:
    """Read the addresses that follow one, separated by commas or "and"."""
    more: list[str] = []
    while len(more) < MAX_FURTHER and (match := FURTHER.match(text, place)):
        address = addresses.clean(match["a"])
        if address and address.lower() not in hidden:
            more.append(address)
        place = match.end("a")
    return more


def _block(text: str, start: int, end: int) -> str:
    """Take what is said behind an address, up to a divider line."""
    block = text[start : min(end, start + MAX_ABOUT)]
    divider = DIVIDER.search(block)
    return block[: divider.start()] if divider else block


def _labelled(text: str, hidden: frozenset[str]) -> list[Said]:
    hits = list(LABELLED.finditer(text))
    out = {
        s.recipient.lower(): s
        for s in _collect(text, [(m["a"], m.end()) for m in hits], hidden, start_at_line=False)
    }
    for match in hits:
        said = out.get(addresses.clean(match["a"]).lower())
        if said is not None and _enumerates(match[0]):
            for beside in _further(text, match.end("a"), hidden):
                out.setdefault(beside.lower(), Said(beside, said.about))
    return list(out.values())


def _enumerates(label: str) -> bool:
    """Tell whether several addresses behind a label may all have failed."""
    word = label.strip(" \t*\n").lower()
    return "recipient" in word or word.startswith("to")


def _dialogue(text: str, hidden: frozenset[str]) -> list[Said]:
    """Read addresses out of an SMTP transcript, each with the replies around it."""
    out: dict[str, Said] = {}
    hits = list(DIALOGUE.finditer(text))
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
        text, [(m["a"], m.end()) for m in SENTENCE.finditer(text)], hidden, start_at_line=False
    )
    if said:
        first = next(m for m in SENTENCE.finditer(text) if _is(m["a"], said[0].recipient))
        before = text[max(0, first.start() - MAX_BEFORE) : first.start()]
        if ENDS_SENTENCE.match(text, first.end("a")) and REPLY.search(before):
            said[0].about = before  # the reply was quoted first
        beside = _further(text, first.end("a"), hidden)
        return [said[0], *(Said(a, said[0].about) for a in beside)]
    return [
        Said(a)
        for a in addresses.find_all(text[:20000])
        if a.lower() not in hidden and not OFFICES.match(a)
    ]


def _is(raw: str, address: str) -> bool:
    return addresses.clean(raw).lower() == address.lower()


def _collect(
    text: str, hits: list[tuple[str, int]], hidden: frozenset[str], *, start_at_line: bool
) -> list[Said]:
    out: dict[str, Said] = {}
    for number, (raw, place) in enumerate(hits):
        address = addresses.clean(raw)
        key = address.lower()
        if not address or key in hidden or (OFFICES.match(key) and not start_at_line):
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

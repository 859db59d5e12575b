"""The quick reading of a document: all its links, and the place before the end of the body.

It stops only at what matters (anchors, tables, comments, raw text, the body's ends); all other
tags are passed over inside one pattern. On meeting an element whose content has rules of its own
(`svg`, `select`, `template` ...), or a body that does not end in an ordinary way, it says so.

Guarantees: what it finds is what the exact reading (`placement.py`) finds; time is linear.
Leaves to others: documents that it calls unusual, and which links are tracked (`plan.py`).
"""

import re
from typing import NamedTuple

from tracking.markup import (
    ANCHOR_REST,
    ANY,
    MARKS,
    NAME_END,
    RAW_TEXT,
    TAG,
    Anchor,
    comment,
    conditional_anchors,
    ends_input,
    exclusion,
    raw_text_end,
)

# What the quick reading stops at. Everything else is passed over inside one pattern.
_UNUSUAL = (
    b"svg math select template frameset noscript object button map marquee applet video audio "
    b"plaintext option optgroup"
).split()
_STOPS = [b"a", b"area", b"table", b"body", b"html", *sorted(RAW_TEXT), *_UNUSUAL]


def _trie(names: list[bytes]) -> bytes:
    """Give a pattern for these names in any case that looks at each letter once."""
    firsts: dict[bytes, list[bytes]] = {}
    for name in names:
        firsts.setdefault(name[:1], []).append(name[1:])
    branches = []
    for first, rests in sorted(firsts.items()):
        letter = b"[" + first + first.upper() + b"]" if first else b""
        branches.append(letter + (_trie(rests) if any(rests) else b"") if first else b"")
    branches.sort(key=len, reverse=True)  # the empty rest, if any, is tried last
    return b"(?:" + b"|".join(branches) + b")"


# Tags nobody cares about, the usual ones first: the most frequent names in lower case, all
# values in double quotes right behind "=". None of these names is a stop.
_COMMON = rb"(?:t[drh]|p|span|div|b|strong|font|li|ul|h[1-6]|i|em|center|u|sup|tbody|thead|o:p)"
_ALONE = rb"(?:img|br|hr)"
_USUAL_REST = rb"(?:>|[\t\n\f\r /][^>\"'=]*+(?>(?:(?<![\t\n\f\r /\"'])=\"[^\"]*+\"[^>\"'=]*+)*)>)"
_USUAL = rb"/?[a-zA-Z][^\t\n\f\r />=\"']*+" + _USUAL_REST
_PASSED = (
    rb"[^<]*+(?>(?:<(?:/" + _COMMON + rb">|(?:" + _COMMON + rb"|" + _ALONE + rb")" + _USUAL_REST
    + rb"|(?!/?" + _trie(_STOPS) + NAME_END + rb")(?:" + _USUAL + rb"|" + ANY + rb")"
    + rb"|(?![a-zA-Z/!?]))[^<]*+)*)"
)  # fmt: skip
# One step: everything up to a stop, and the stop itself in the group that says what it is.
_ANCHOR, _ANCHOR_END, _TABLE, _TABLE_END, _COMMENT, _OTHER = 1, 6, 7, 8, 9, 10
_STEP = re.compile(
    _PASSED
    + rb"(?>(?:(<([aA]|[aA][rR][eE][aA])(?=[\t\n\f\r /])" + ANCHOR_REST + rb")"
    + rb"|(</[aA][\t\n\f\r ]*+>)"
    + rb"|(<[tT][aA][bB][lL][eE](?:" + _USUAL_REST + rb"))"
    + rb"|(</[tT][aA][bB][lL][eE][\t\n\f\r ]*+>)"
    + rb"|(<!--(?!-?>))"
    + rb"|(<))?)"
)  # fmt: skip
_EVENT = re.compile(rb"<(/?)(" + _trie(_STOPS) + rb")" + NAME_END)
_HIDDEN = re.compile(rb"display[\t\n\f\r ]*+:[\t\n\f\r ]*+none")
_SPACE = b"\t\n\f\r "
MAX_STEPS = 40_000


class Scan(NamedTuple):
    """What the quick reading found: the anchors, and where a pixel may stand (-1: not known).

    `unusual` means that the document needs the exact reading; then nothing else here holds.
    """

    anchors: list[Anchor]
    pixel: int
    unusual: bool
    over_budget: bool = False


def scan(data: bytes, start: int, stop: int, *, outlook: bool, max_anchors: int = 5000) -> Scan:
    """Read a document quickly: all its anchors, and the place before the end of the body."""
    reading = _Reading(data, stop, outlook=outlook, max_anchors=max_anchors)
    reading.run(start)
    return Scan(reading.anchors, reading.place(start), reading.unusual, reading.over_budget)


def _may_end_hidden(lowered: bytes) -> bool:
    """Say whether a hidden block may still be open at the end of the document."""
    return _HIDDEN.search(lowered) is not None and any(
        lowered.count(b"<" + name) > lowered.count(b"</" + name)
        for name in (b"div", b"span", b"p", b"center")
    )


class _Reading:
    """The state of one quick reading."""

    __slots__ = (
        "after",
        "anchors",
        "body",
        "candidate",
        "cut",
        "data",
        "depth",
        "last_end",
        "lowered",
        "marked",
        "max_anchors",
        "odd_comments",
        "open",
        "outlook",
        "over_budget",
        "stop",
        "unusual",
    )

    def __init__(self, data: bytes, stop: int, *, outlook: bool, max_anchors: int) -> None:
        self.data = data
        self.stop = stop
        self.outlook = outlook
        self.max_anchors = max_anchors
        self.lowered = data.lower()
        self.marked = any(mark in self.lowered for mark in MARKS)
        self.odd_comments = b"--!>" in data
        self.anchors: list[Anchor] = []
        self.open: list[int] = []  # table depth of each <a> still open
        self.depth = 0
        self.body = False  # certainly inside the body
        self.after = False  # behind </body> or </html>, nothing since
        self.candidate = -1
        self.last_end = False
        self.cut = False  # the document ended inside a tag, a comment or raw text
        self.unusual = False
        self.over_budget = False

    def run(self, at: int) -> None:
        """Take one stop after the other."""
        data, stop, step = self.data, self.stop, _STEP.match
        for _ in range(MAX_STEPS):
            if at >= stop or self.over_budget or self.unusual:
                return
            match = step(data, at, stop)
            if match is None:
                return  # cannot be: every part of the pattern may be empty
            kind = match.lastindex
            if self.after and data[at : match.start(kind or 0) if kind else stop].strip(_SPACE):
                self.after = False
            at = match.end()
            if kind == _ANCHOR:
                self.anchor(match)
            elif kind == _COMMENT:
                at = self.comment(at - 4)
            elif kind == _OTHER:
                at = self.other(at - 1)
            elif kind is not None:
                self.simple(kind)
        self.over_budget = True

    def simple(self, kind: int) -> None:
        """Take a table's start or end, or the end of an `a`."""
        self.after = False
        if kind == _TABLE:
            self.depth += 1
            self.body = True
        elif kind == _TABLE_END:
            self.depth -= self.depth > 0
        elif self.open and self.open[-1] == self.depth:
            self.open.pop()

    def anchor(self, match: re.Match[bytes]) -> None:
        """Note an anchor; an `a` also ends one still open (13.2.6.4.7)."""
        self.body, self.after = True, False
        name = match[2]
        if len(name) == 1:
            if not self.open or self.open[-1] != self.depth:
                self.open.append(self.depth)
            name = b"a"
        else:
            name = b"area"
        for group in (3, 4, 5):
            start, end = match.span(group)
            if start >= 0:
                break
        else:
            return
        excluded: str = ""
        removals: tuple[tuple[int, int], ...] = ()
        if self.marked:
            excluded, removals = exclusion(self.data, match.end(2), match.end())
        self.keep(Anchor(name, start, end, False, excluded, removals))

    def keep(self, found: Anchor) -> None:
        self.anchors.append(found)
        self.over_budget = len(self.anchors) > self.max_anchors

    def comment(self, at: int) -> int:
        """Pass a comment that begins with "<!--", reading what only Outlook sees of it."""
        end = self.data.find(b"-->", at + 4, self.stop)
        if end < 0 or self.odd_comments:
            return self.declaration(at)
        if self.outlook:
            find = self.lowered.find
            if find(b"<a", at + 4, end) >= 0 or find(b"<v:", at + 4, end) >= 0:
                return self.declaration(at)
        return end + 3

    def declaration(self, at: int) -> int:
        """Pass any comment or declaration."""
        data = self.data
        found = comment(data, at, self.stop)
        if self.outlook and found.inner_end > found.inner_start:
            self.anchors += conditional_anchors(data, found.inner_start, found.inner_end)
            self.over_budget = len(self.anchors) > self.max_anchors
        if found.end >= self.stop and not data.startswith(b">", self.stop - 1):
            self.cut = True
        return found.end

    def other(self, at: int) -> int:
        """Take a stop of a rarer kind; gives the offset behind it (and behind its raw text)."""
        data = self.data
        event = _EVENT.match(data, at, self.stop)
        if event is None:
            if ends_input(data, at, self.stop):
                self.cut = True
                return self.stop
            return at + 3 if data.startswith(b"</>", at) else self.declaration(at)
        tag = TAG.match(data, at, self.stop)
        if tag is None:
            self.cut = True
            return self.stop
        name, end_tag, end = event[2].lower(), bool(event[1]), tag.end()
        if name in (b"a", b"area", b"table"):
            self.odd(name, end_tag=end_tag)
        elif name in (b"body", b"html"):
            if end_tag:
                self.end_of_body(name, at)
            elif name == b"body":
                self.body, self.after = True, False
        elif name not in RAW_TEXT:
            self.unusual = True
        else:
            self.after = False
            if not end_tag:
                end = raw_text_end(data, name, end, self.stop)
                self.cut = end >= self.stop
        return end

    def odd(self, name: bytes, *, end_tag: bool) -> None:
        """Take an anchor without attributes, or an oddly written tag of a kind `run` knows."""
        self.body, self.after = self.body or not end_tag, False
        if name == b"table":
            self.depth = max(0, self.depth + (-1 if end_tag else 1))
        elif name == b"a":
            same = bool(self.open) and self.open[-1] == self.depth
            if end_tag and same:
                self.open.pop()
            elif not end_tag and not same:
                self.open.append(self.depth)

    def end_of_body(self, name: bytes, at: int) -> None:
        """Note the place before </body> or </html>; of several the last </body> that ends one."""
        if name == b"body":
            if not self.last_end:
                self.candidate = -1
            self.last_end = True
        elif self.last_end:
            self.after = self.after or not self.depth
            return
        if self.after:
            return
        if self.depth or self.open or not self.body:
            self.candidate = -1
            self.last_end = True  # the exact reading decides
            return
        self.candidate = at
        self.after = True

    def place(self, start: int) -> int:
        """Say where the pixel goes: before the body's end, or at the end of the text."""
        if b"none" in self.lowered and _may_end_hidden(self.lowered):
            return -1
        if self.candidate >= 0 or self.last_end:
            return self.candidate
        if self.cut or self.depth or self.open or not self.body or self.after:
            return -1
        end = self.stop
        while end > start and self.data[end - 1] in _SPACE:
            end -= 1
        return end

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
    ANY,
    NAME_END,
    RAW_TEXT,
    TAG,
    Anchor,
    anchor,
    comment,
    conditional_anchors,
    ends_input,
    raw_text_end,
)

# The usual shape of a tag, for speed: all values in double quotes right behind "=".
_USUAL = (
    rb"/?[a-zA-Z][^\t\n\f\r />=\"']*+"
    rb"(?:[\t\n\f\r /][^>\"'=]*+(?:(?<![\t\n\f\r /\"'])=\"[^\"]*+\"[^>\"'=]*+)*+)?+>"
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


_BORING = re.compile(
    rb"(?:[^<]++|<(?!/?" + _trie(_STOPS) + NAME_END + rb")(?:" + _USUAL + b"|" + ANY + rb")"
    rb"|<(?![a-zA-Z/!?]))*+"
)
_EVENT = re.compile(rb"<(/?)(" + _trie(_STOPS) + rb")" + NAME_END)


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
    at = start
    boring, event = _BORING.match, _EVENT.match
    while True:
        begin = at
        found = boring(data, at, stop)
        at = found.end() if found else at
        if reading.after and data[begin:at].strip(b"\t\n\f\r "):
            reading.after = False
        if at >= stop:
            break
        match = event(data, at, stop)
        if match is None:
            at = reading.declaration(at)
        else:
            at = reading.stop_at(match[2].lower(), at, end_tag=bool(match[1]))
        if reading.unusual or reading.over_budget:
            break
    return Scan(reading.anchors, reading.place(start), reading.unusual, reading.over_budget)


_HIDDEN = re.compile(rb"(?i:display[\t\n\f\r ]*+:[\t\n\f\r ]*+none)")


def _may_end_hidden(data: bytes) -> bool:
    """Say whether a hidden block may still be open at the end of the document."""
    if not _HIDDEN.search(data):
        return False
    lowered = data.lower()
    return any(
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
        "conditional_only",
        "cut",
        "data",
        "depth",
        "last_end",
        "max_anchors",
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

    def place(self, start: int) -> int:
        """Say where the pixel goes: before the body's end, or at the end of the text."""
        if b"none" in self.data and _may_end_hidden(self.data):
            return -1
        if self.candidate >= 0 or self.last_end:
            return self.candidate
        if self.cut or self.depth or self.open or not self.body or self.after:
            return -1
        end = self.stop
        while end > start and self.data[end - 1] in b"\t\n\f\r ":
            end -= 1
        return end

    def declaration(self, at: int) -> int:
        """Pass a comment, a declaration, or a tag that never ends."""
        data = self.data
        if ends_input(data, at, self.stop):
            self.cut = True
            return self.stop
        if data.startswith(b"</>", at):
            return at + 3
        found = comment(data, at, self.stop)
        if self.outlook and found.inner_end > found.inner_start:
            self.inside_conditional(found.inner_start, found.inner_end)
        if found.end >= self.stop and not data.startswith(b">", self.stop - 1):
            self.cut = True
        return found.end

    def inside_conditional(self, at: int, stop: int) -> None:
        """Find the links that Outlook reads inside a conditional comment."""
        self.anchors += conditional_anchors(self.data, at, stop)
        self.over_budget = len(self.anchors) > self.max_anchors

    def stop_at(self, name: bytes, at: int, *, end_tag: bool) -> int:
        """Take one tag that matters; gives the offset behind it (and behind its raw text)."""
        if name == b"a" or name == b"area":
            return self.anchor(name, at, end_tag=end_tag)
        tag = TAG.match(self.data, at, self.stop)
        if tag is None:
            self.cut = True
            return self.stop
        end = tag.end()
        if name == b"table":
            self.body, self.after = self.body or not end_tag, False
            self.depth = max(0, self.depth + (-1 if end_tag else 1))
        elif name == b"body" or name == b"html":
            if end_tag:
                self.end_of_body(name, at)
            elif name == b"body":
                self.body, self.after = True, False
        elif name not in RAW_TEXT:
            self.unusual = True
        elif end_tag:
            self.after = False
        else:
            self.after = False
            end = raw_text_end(self.data, name, end, self.stop)
            self.cut = end >= self.stop
        return end

    def anchor(self, name: bytes, at: int, *, end_tag: bool) -> int:
        found, end = anchor(self.data, at, self.stop, conditional=False)
        if found is None:
            self.cut = True
            return end
        self.body, self.after = self.body or not end_tag, False
        if name == b"area":
            if not end_tag:
                self.keep(found)
            return end
        same = bool(self.open) and self.open[-1] == self.depth
        if end_tag:
            if same:
                self.open.pop()
            return end
        if not same:  # else the new one ends the one before (13.2.6.4.7, "a")
            self.open.append(self.depth)
        self.keep(found)
        return end

    def keep(self, found: Anchor) -> None:
        if found.start >= 0:
            self.anchors.append(found)
            self.over_budget = len(self.anchors) > self.max_anchors

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

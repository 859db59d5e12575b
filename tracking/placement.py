"""The exact reading of a document: which anchors are elements, and where a pixel stays put.

A browser moves an image that stands directly in a table, drops one inside `select`, and shows
none inside a comment, `template` or hidden block. `tree.py` knows where that would be.

Guarantees: `place` is the last offset before the body's end where an inserted `img` stays exactly
between what is before and behind it, or -1; anchors that a browser does not build carry the
reason. Time is linear, and the number of tags is bounded.
Leaves to others: everything the quick reading (`markup.scan`) can say without a tree.
"""

import re
from typing import NamedTuple

from tracking.markup import (
    RAW_TEXT,
    TAG,
    Anchor,
    anchor,
    comment,
    conditional_anchors,
    ends_input,
    raw_text_end,
)
from tracking.tree import Tree

MAX_TAGS = 20_000
_SPACE = b"\t\n\f\r "
_TEXT = re.compile(rb"[^<]*+(?>(?:<(?![a-zA-Z/!?])[^<]*+)*)")


class Found(NamedTuple):
    """An anchor, and why a browser builds no link of it ("" when it does)."""

    anchor: Anchor
    reason: str


class Exact(NamedTuple):
    """What the exact reading found; `over_budget` means that it gave up."""

    anchors: list[Found]
    place: int
    over_budget: bool


def read(data: bytes, start: int, stop: int, *, outlook: bool) -> Exact:
    """Read a document exactly."""
    reading = _Reading(data, start, stop, outlook=outlook)
    reading.run()
    return Exact(reading.anchors, reading.place(), reading.over_budget)


class _Reading:
    """One pass over a document's tokens."""

    def __init__(self, data: bytes, start: int, stop: int, *, outlook: bool) -> None:
        self.data = data
        self.start = start
        self.stop = stop
        self.outlook = outlook
        self.tree = Tree()
        self.anchors: list[Found] = []
        self.last_safe = -1
        self.at_body_end: int | None = None
        self.at_html_end = -1
        self.cut = False
        self.over_budget = False

    def run(self) -> None:
        """Hand all tokens to the tree, noting the places that are safe."""
        at, data, stop, tree = self.start, self.data, self.stop, self.tree
        for _ in range(MAX_TAGS):
            text = _TEXT.match(data, at, stop)
            begin, at = at, text.end() if text else at
            if tree.mode != "body" and data[begin:at].strip(_SPACE):
                tree.text()
            if at >= stop:
                return
            if tree.safe():
                self.last_safe = at
            tag = TAG.match(data, at, stop)
            if tag is None:
                at = self.other(at)
            elif tag[1]:
                at = self.end_tag(tag)
            else:
                at = self.start_tag(tag)
            if self.cut or at >= stop:
                return
        self.over_budget = True

    def other(self, at: int) -> int:
        """Pass a comment or declaration; a tag that never ends takes the rest."""
        data = self.data
        if ends_input(data, at, self.stop):
            self.cut = True
            return self.stop
        if data.startswith(b"</>", at):
            return at + 3
        if data.startswith(b"<![CDATA[", at) and self.tree.foreign():
            end = data.find(b"]]>", at, self.stop)
            self.cut = end < 0
            return self.stop if end < 0 else end + 3
        found = comment(data, at, self.stop)
        if self.outlook and found.inner_end > found.inner_start:
            inner = conditional_anchors(data, found.inner_start, found.inner_end)
            self.anchors += [Found(each, "") for each in inner]
        self.cut = found.end >= self.stop and not data.startswith(b">", self.stop - 1)
        return found.end

    def end_tag(self, tag: re.Match[bytes]) -> int:
        name = tag[2].lower()
        if name == b"body":
            self.at_body_end = self.last_safe
        elif name == b"html" and self.tree.mode == "body":
            self.at_html_end = self.last_safe
        self.tree.end_tag(name)
        return tag.end()

    def start_tag(self, tag: re.Match[bytes]) -> int:
        name, end, tree = tag[2].lower(), tag.end(), self.tree
        foreign = tree.foreign()
        tree.start_tag(name, tag[0])
        if name in (b"a", b"area"):
            self.keep(tag.start())
        if foreign and tree.without_raw_text():
            return end
        if name == b"plaintext" and tree.context() != "select":
            self.cut = True
        elif name in RAW_TEXT and (tree.context() != "select" or name == b"script"):
            end = raw_text_end(self.data, name, end, self.stop)
            closing = TAG.match(self.data, end, self.stop)
            self.cut = closing is None
            end = closing.end() if closing else self.stop
        return end

    def keep(self, at: int) -> None:
        """Note an anchor that has a link."""
        found, _ = anchor(self.data, at, self.stop, conditional=False)
        if found is None or found.start < 0:
            return
        reason = ""
        if self.tree.frameset:
            reason = "frameset"
        elif self.tree.foreign():
            reason = "foreign"
        elif self.tree.inside(b"template"):
            reason = "template"
        elif self.tree.context() == "select":
            reason = "select"
        self.anchors.append(Found(found, reason))

    def place(self) -> int:
        """Give the best offset for the pixel once everything is read."""
        if self.at_body_end is not None:
            return self.at_body_end
        if self.at_html_end >= 0:
            return self.at_html_end
        if self.cut or not self.tree.safe():
            return self.last_safe
        end = self.stop
        while end > self.start and self.data[end - 1] in _SPACE:
            end -= 1
        return end

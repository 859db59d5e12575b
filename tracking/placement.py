"""The exact reading of a document: which anchors are elements, and where a pixel stays put.

A browser moves an image that stands directly in a table, drops one inside `select`, and shows
none inside a comment, `template` or hidden block. This follows the tree construction of the HTML
Standard (section 13.2.6, scripting off) as far as it decides about that: open elements, table
modes, `select`, foreign content, and whether an `a` would be opened again.

Guarantees: `place` gives the last offset before the body's end where an inserted `img` stays
exactly between what is before and behind it, or -1; anchors that a browser does not build carry
the reason. Time is linear: depth of search in the stack is bounded, and so is the number of tags.
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
    raw_text_end,
)

MAX_TAGS = 60_000
MAX_SEARCH = 512  # browsers nest no deeper

_SPACE = b"\t\n\f\r "
_TEXT = re.compile(rb"[^<]*+(?:<(?![a-zA-Z/!?])[^<]*+)*+")
_HIDDEN = re.compile(rb"(?i:display[\t\n\f\r ]*+:[\t\n\f\r ]*+none)")


def _names(text: str) -> frozenset[bytes]:
    return frozenset(text.encode().split())


_VOID = _names(
    "area base basefont bgsound br col embed frame hr image img input keygen link meta param "
    "source track wbr"
)
_FORMATTING = _names("a b big code em font i nobr s small strike strong tt u")
_HEAD = _names(
    "html head base basefont bgsound link meta title style script noscript noframes template"
)
_BLOCK = _names(
    "address article aside blockquote center details dialog dir div dl fieldset figcaption figure "
    "footer header hgroup main menu nav ol p search section summary ul pre listing form h1 h2 h3 "
    "h4 h5 h6 li dd dt"
)
_SPECIAL = _BLOCK | _names(
    "applet button caption colgroup iframe marquee noembed noframes noscript object "
    "plaintext script select style table tbody td template textarea tfoot th thead title tr xmp"
)
_SCOPE = _names("applet caption table td th marquee object template")
_STRUCTURE = _names("caption col colgroup tbody td tfoot th thead tr")
_SECTIONS = _names("tbody tfoot thead")
_CELLS = _names("td th")
_HEADINGS = _names("h1 h2 h3 h4 h5 h6")
_MARKERS = _names("td th caption applet marquee object template")
_CONTEXT = {
    b"table": "table",
    b"tbody": "section",
    b"tfoot": "section",
    b"thead": "section",
    b"tr": "row",
    b"td": "cell",
    b"th": "cell",
    b"caption": "caption",
    b"colgroup": "columns",
    b"select": "select",
    b"template": "template",
}
_FLOW = frozenset({"", "cell", "caption"})  # contexts whose content stays where it stands
# Elements inside which a pixel would not load, not render, or not be a child.
_BAD = _names(
    "object noscript select template button map video audio option optgroup svg math frameset"
)
_BREAKOUT = _names(
    "b big blockquote body br center code dd div dl dt em embed h1 h2 h3 h4 h5 h6 head hr i img "
    "li listing menu meta nobr ol p pre ruby s small span strong strike sub sup table tt u ul var"
)
_INTEGRATION = _names("foreignobject desc title mi mo mn ms mtext annotation-xml")


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
    builder = _Builder(data, start, stop, outlook=outlook)
    builder.run()
    return Exact(builder.anchors, builder.place(), builder.over_budget)


class _Builder:
    """The open elements of the document so far.

    `stack` has no html, body and formatting elements; foreign ones are written "svg:name", and
    those whose content is HTML again "html:name". `contexts` runs beside it.
    """

    def __init__(self, data: bytes, start: int, stop: int, *, outlook: bool) -> None:
        self.data = data
        self.start = start
        self.stop = stop
        self.outlook = outlook
        self.stack: list[bytes] = []
        self.contexts: list[str] = []
        self.bad: list[bool] = []
        self.bad_open = 0
        self.links_open = [False]  # one per marker (13.2.4.3): an <a> would be opened again
        self.mode = "before"
        self.frameset = False
        self.anchors: list[Found] = []
        self.last_safe = -1
        self.at_body_end: int | None = None
        self.cut = False
        self.over_budget = False

    # ------------------------------------------------------------------ the tokenizer's side

    def run(self) -> None:
        at, data, stop = self.start, self.data, self.stop
        for _ in range(MAX_TAGS):
            text = _TEXT.match(data, at, stop)
            begin, at = at, text.end() if text else at
            if self.mode != "body" and data[begin:at].strip(_SPACE):
                self.text()
            if at >= stop:
                return
            if self.safe():
                self.last_safe = at
            tag = TAG.match(data, at, stop)
            at = self.other(at) if tag is None else self.tag(tag)
            if self.cut or at >= stop:
                return
        self.over_budget = True

    def other(self, at: int) -> int:
        """Pass a comment or declaration; a tag that never ends takes the rest."""
        data = self.data
        if data[at + 1 : at + 2] not in (b"!", b"?") and (
            data[at + 1 : at + 2] != b"/" or data[at + 2 : at + 3].isalpha() or at + 2 >= self.stop
        ):
            self.cut = True
            return self.stop
        if data.startswith(b"</>", at):
            return at + 3
        if data.startswith(b"<![CDATA[", at) and self.foreign():
            end = data.find(b"]]>", at, self.stop)
            self.cut = end < 0
            return self.stop if end < 0 else end + 3
        found = comment(data, at, self.stop)
        if self.outlook and found.inner_end > found.inner_start:
            inner = conditional_anchors(data, found.inner_start, found.inner_end)
            self.anchors += [Found(each, "") for each in inner]
        self.cut = found.end >= self.stop and not data.startswith(b">", self.stop - 1)
        return found.end

    def tag(self, tag: re.Match[bytes]) -> int:
        name, at, end = tag[2].lower(), tag.start(), tag.end()
        if tag[1]:
            if name == b"body":
                self.at_body_end = self.last_safe
            self.end_tag(name)
            return end
        foreign = self.foreign()
        self.start_tag(name, tag)
        if name in (b"a", b"area") and not self.frameset:
            self.keep(at)
        if foreign and self.stack and self.stack[-1].startswith((b"svg:", b"html:")):
            return end  # inside svg and math there is no raw text
        if name == b"plaintext" and "select" not in self.contexts[-1:]:
            self.cut = True
        elif name in RAW_TEXT and (self.context() != "select" or name == b"script"):
            end = raw_text_end(self.data, name, end, self.stop)
            closing = TAG.match(self.data, end, self.stop)
            self.cut = closing is None
            end = closing.end() if closing else self.stop
        return end

    def keep(self, at: int) -> None:
        found, _ = anchor(self.data, at, self.stop, conditional=False)
        if found is None or found.start < 0:
            return
        reason = ""
        if self.foreign():
            reason = "foreign"
        elif "template" in self.contexts:
            reason = "template"
        elif self.context() == "select":
            reason = "select"
        self.anchors.append(Found(found, reason))

    def place(self) -> int:
        """Give the best offset for the pixel once everything is read."""
        if self.frameset:
            return -1
        if self.at_body_end is not None:
            return self.at_body_end
        if self.cut or not self.safe():
            return self.last_safe
        end = self.stop
        while end > self.start and self.data[end - 1] in _SPACE:
            end -= 1
        return end

    # ----------------------------------------------------------------- the tree's side: state

    def safe(self) -> bool:
        """Say whether an image put here would stay here and be shown."""
        return (
            self.mode == "body"
            and not self.bad_open
            and not self.links_open[-1]
            and self.context() in _FLOW
            and not self.frameset
        )

    def context(self) -> str:
        return self.contexts[-1] if self.contexts else ""

    def foreign(self) -> bool:
        return bool(self.stack) and self.stack[-1].startswith(b"svg:")

    def push(self, name: bytes, *, hidden: bool = False) -> None:
        bad = hidden or name in _BAD or name.startswith((b"svg:", b"html:"))
        self.stack.append(name)
        self.contexts.append(_CONTEXT.get(name, self.context()))
        self.bad.append(bad)
        self.bad_open += bad
        if name in _MARKERS:
            self.links_open.append(False)

    def pop(self) -> bytes:
        name = self.stack.pop()
        self.contexts.pop()
        self.bad_open -= self.bad.pop()
        if name in _MARKERS and len(self.links_open) > 1:
            self.links_open.pop()
        return name

    def pop_until(self, names: frozenset[bytes]) -> None:
        while self.stack and self.pop() not in names:
            pass

    def back_to(self, names: frozenset[bytes]) -> None:
        """Clear the stack back to one of these, which stays."""
        while self.stack and self.stack[-1] not in names:
            self.pop()

    def in_scope(self, names: frozenset[bytes], borders: frozenset[bytes]) -> bool:
        for name in self.stack[: -MAX_SEARCH - 1 : -1]:
            if name in names:
                return True
            if name in borders or name.startswith(b"svg:") or name.startswith(b"html:"):
                return False
        return False

    def close_p(self) -> None:
        if self.in_scope(_P, _BUTTON_SCOPE):
            self.pop_until(_P)

    def text(self) -> None:
        """Take text that is not only white space."""
        if self.mode in ("before", "after") and not self.frameset and not self.stack:
            self.mode = "body"
        elif self.mode == "after":
            self.mode = "body"

    # ------------------------------------------------------------------ the tree's side: tags

    def start_tag(self, name: bytes, tag: re.Match[bytes]) -> None:
        if self.foreign() and self.foreign_start(name, tag):
            return
        if self.mode == "before":
            if name == b"frameset" and not self.stack:
                self.frameset = True
                return
            if name in _HEAD and name != b"template":
                return
            if name != b"template" and "template" not in self.contexts:
                self.mode = "body"
        elif self.mode == "after" and name != b"html":
            self.mode = "body"
        if name in (b"html", b"head", b"body", b"frameset"):
            return
        # Each round closes something and hands the tag on, or takes it.
        for _ in range(MAX_SEARCH):
            if self.start_in_context(name, self.context()):
                return self.start_in_body(name, tag)
            if self.taken:
                return None
        return None

    taken = False

    def start_in_context(self, name: bytes, context: str) -> bool:
        """Apply the rules of tables and `select`; True hands the tag to the body's rules."""
        self.taken = False
        if context == "" or context == "template":
            self.taken = name in _STRUCTURE
            return not self.taken
        if context == "select":
            return self.start_in_select(name)
        if context in ("cell", "caption"):
            if name not in _STRUCTURE:
                return True
            self.pop_until(_CELLS if context == "cell" else _CAPTION)
            return False
        if context == "columns":
            if name == b"col":
                self.taken = True
            else:
                self.pop_until(_COLGROUP)
            return False
        return self.start_in_table(name, context)

    def start_in_table(self, name: bytes, context: str) -> bool:
        if name == b"table":
            self.pop_until(_TABLE)
            return False
        if name not in _STRUCTURE:
            return True  # put before the table, or raw text; the context says so
        if context == "row":
            if name in _CELLS:
                self.back_to(_ROW)
                self.take(name)
            else:
                self.pop_until(_ROW)
        elif context == "section":
            if name == b"tr" or name in _CELLS:
                self.back_to(_SECTIONS)
                self.push(b"tr")
                self.taken = name == b"tr"
            else:
                self.pop_until(_SECTIONS)
        else:
            self.back_to(_TABLE)
            if name == b"caption" or name == b"colgroup" or name in _SECTIONS:
                self.take(name)
            else:
                self.push(b"colgroup" if name == b"col" else b"tbody")
        return False

    def take(self, name: bytes) -> None:
        self.push(name)
        self.taken = True

    def start_in_select(self, name: bytes) -> bool:
        if name in (b"option", b"optgroup", b"template"):
            if self.stack[-1] == b"option" and name != b"template":
                self.pop()
            self.take(name)
        elif name == b"select":
            self.pop_until(_SELECT)
            self.taken = True
        elif name in (b"input", b"keygen", b"textarea"):
            self.pop_until(_SELECT)
        elif (name in _STRUCTURE or name == b"table") and any(
            each in ("cell", "row", "section", "table", "caption") for each in self.contexts
        ):
            self.pop_until(_SELECT)
        else:
            self.taken = True
        return False

    def start_in_body(self, name: bytes, tag: re.Match[bytes]) -> None:
        if name == b"a":
            self.links_open[-1] = True
        if name in _FORMATTING or name in RAW_TEXT or name == b"plaintext":
            return
        if name in _VOID:
            if name == b"hr":
                self.close_p()
            return
        if name in (b"svg", b"math"):
            if not tag[0].endswith(b"/>"):
                self.push(b"svg:" + name)
            return
        if name in _BLOCK:
            self.close_same(name)
            self.close_p()
            if name in _HEADINGS and self.stack and self.stack[-1] in _HEADINGS:
                self.pop()
        elif name == b"button" and self.in_scope(_BUTTON, _SCOPE):
            self.pop_until(_BUTTON)
        elif name in (b"option", b"optgroup") and self.stack[-1:] == [b"option"]:
            self.pop()
        self.push(name, hidden=_HIDDEN.search(tag[0]) is not None)

    def close_same(self, name: bytes) -> None:
        """Let `li`, `dd` and `dt` end the one before them."""
        if name == b"li":
            names = _LI
        elif name in (b"dd", b"dt"):
            names = _TERMS
        else:
            return
        for open_name in self.stack[: -MAX_SEARCH - 1 : -1]:
            if open_name in names:
                self.pop_until(names)
                return
            if open_name in _SPECIAL and open_name not in (b"address", b"div", b"p"):
                return

    def end_tag(self, name: bytes) -> None:
        if self.foreign() and self.foreign_end(name):
            return
        if self.frameset:
            return
        if self.mode == "before":
            if name not in (b"body", b"html", b"br") and "template" not in self.contexts:
                return
            if not self.stack:
                self.mode = "body"
        elif self.mode == "after":
            if name == b"html":
                return
            self.mode = "body"
        for _ in range(MAX_SEARCH):
            self.taken = False
            if self.end_in_context(name, self.context()):
                return self.end_in_body(name)
            if self.taken:
                return None
        return None

    def end_in_context(self, name: bytes, context: str) -> bool:
        """Apply the rules of tables and `select`; True hands the tag to the body's rules."""
        own = _OWN_END.get(context)
        if own is None:  # body, template
            self.taken = name in _STRUCTURE or name == b"table"
            return not self.taken
        if name in own:
            self.taken = True
            if self.in_scope(frozenset((name,)), _TABLE_SCOPE):
                self.pop_until(frozenset((name,)))
            return False
        if name in (b"body", b"html") and context != "":
            self.taken = True
            return False
        if context == "columns":
            self.taken = name == b"col"
            if not self.taken:
                self.pop_until(_COLGROUP)
            return False
        if name == b"table" or name in _SECTIONS or name == b"tr":
            return self.end_outer(name, context)
        if name in _STRUCTURE or context == "select":
            self.taken = name != b"template"
            return name == b"template"
        return True

    def end_outer(self, name: bytes, context: str) -> bool:
        """Take the end of an outer table part: it closes what is open inside it first."""
        borders = _TABLE_SCOPE
        if not self.in_scope(frozenset((name,)), borders) or (
            context == "caption" and name != b"table"
        ):
            self.taken = True
            return False
        self.pop_until(_CLOSES[context])
        return False

    def end_in_body(self, name: bytes) -> None:
        if name in (b"body", b"html"):
            if not any(each in _OBJECTS for each in self.stack):
                self.mode = "after"
        elif name == b"a":
            if self.context() in _FLOW:
                self.links_open[-1] = False
        elif name in _FORMATTING or name in _VOID:
            return
        elif name == b"form":
            if self.in_scope(_FORM, _SCOPE):
                self.remove(b"form")
        elif name in _HEADINGS:
            if self.in_scope(_HEADINGS, _SCOPE):
                self.pop_until(_HEADINGS)
        elif name in _BLOCK or name in (b"button", b"applet", b"marquee", b"object"):
            wanted = frozenset((name,))
            borders = _SCOPE
            if name == b"p":
                borders = _BUTTON_SCOPE
            elif name == b"li":
                borders = _LIST_SCOPE
            if self.in_scope(wanted, borders):
                self.pop_until(wanted)
        elif name == b"template":
            if b"template" in self.stack:
                self.pop_until(_TEMPLATE)
        else:
            for open_name in self.stack[: -MAX_SEARCH - 1 : -1]:
                if open_name == name:
                    self.pop_until(frozenset((name,)))
                    return
                if open_name in _SPECIAL:
                    return

    def remove(self, name: bytes) -> None:
        """Take one element out from among the open ones (13.2.6.4.7, end tag "form")."""
        at = len(self.stack) - 1 - self.stack[::-1].index(name)
        self.bad_open -= self.bad[at]
        del self.stack[at], self.contexts[at], self.bad[at]

    # -------------------------------------------------------------------- foreign content

    def foreign_start(self, name: bytes, tag: re.Match[bytes]) -> bool:
        """Take a start tag inside svg or math; False when it ends them and goes to HTML."""
        if name in _BREAKOUT or (name == b"font" and _FONT.search(tag[0])):
            while self.foreign():
                self.pop()
            return False
        if not tag[0].endswith(b"/>"):
            self.push((b"html:" if name in _INTEGRATION else b"svg:") + name)
        return True

    def foreign_end(self, name: bytes) -> bool:
        if name in (b"br", b"p"):
            while self.foreign():
                self.pop()
            return False
        for depth, open_name in enumerate(self.stack[: -MAX_SEARCH - 1 : -1], 1):
            if open_name[4:] == name and open_name.startswith(b"svg:"):
                for _ in range(depth):
                    self.pop()
                return True
            if not open_name.startswith(b"svg:"):
                return False
        return True


_P = _names("p")
_LI = _names("li")
_TERMS = _names("dd dt")
_BUTTON = _names("button")
_FORM = _names("form")
_SELECT = _names("select")
_TEMPLATE = _names("template")
_TABLE = _names("table")
_ROW = _names("tr")
_CAPTION = _names("caption")
_COLGROUP = _names("colgroup")
_OBJECTS = _names("applet marquee object template")
_BUTTON_SCOPE = _SCOPE | _BUTTON
_LIST_SCOPE = _SCOPE | _names("ol ul")
_TABLE_SCOPE = _names("table template")
_FONT = re.compile(rb"(?i:[\t\n\f\r /\"'](?:color|face|size)[\t\n\f\r />=])")
# The end tags a table context takes for itself, and what it closes for an outer one.
_OWN_END = {
    "cell": _CELLS,
    "caption": _CAPTION,
    "row": _ROW,
    "section": _SECTIONS,
    "table": _TABLE,
    "columns": _COLGROUP,
    "select": _SELECT | _names("option optgroup"),
}
_CLOSES = {
    "cell": _CELLS,
    "caption": _CAPTION,
    "row": _ROW,
    "section": _SECTIONS,
    "table": _TABLE,
    "select": _SELECT,
}

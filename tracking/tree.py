"""The open elements of an HTML document, as tree construction keeps them (HTML 13.2.6).

Followed as far as it decides where an image would end up and whether an `a` is a link: table
modes, `select`, foreign content, implied end tags, scopes. Not followed: attributes, text and the
adoption agency's moves, which change neither; where readers disagree (`template`, end tags that
leave svg), `doubt` is set and nothing is promised from there on.

Guarantees: every step costs a bounded amount, however deep the document nests.
Leaves to others: tokens and places (`placement.py`).
"""

import re

from tracking import elements as html
from tracking.stack import FOREIGN, MAX_SEARCH, Stack

_HIDDEN = re.compile(rb"(?i:display[\t\n\f\r ]*+:[\t\n\f\r ]*+none)")
_TABLE_NAMES = (b"table", b"td", b"th", b"caption")


class Tree(Stack):
    """The open elements and the insertion mode: before, in or after the body."""

    def __init__(self) -> None:
        super().__init__()
        self.mode = "before"  # before, body, after
        self.frameset = False
        self.doubt = False
        self._taken = False

    def safe(self) -> bool:
        """Say whether an image put here would stay here and be shown, for every reader."""
        return self.mode == "body" and not self.frameset and not self.doubt and self.still()

    # ------------------------------------------------------------------------ tokens

    def text(self) -> None:
        """Take text that is not only white space."""
        if self.mode == "after" or (self.mode == "before" and not self._stack):
            self.mode = "body"

    def start_tag(self, name: bytes, tag: bytes) -> None:
        """Take a start tag: its name in lower case, and all its bytes."""
        if self.foreign() and self._foreign_start(name, tag):
            return
        if self.mode == "before" and self._start_before_body(name):
            return
        if self.mode == "after" and name != b"html":
            self.mode = "body"
        if name in (b"html", b"head", b"body", b"frameset"):
            return
        self._taken = False
        for _ in range(MAX_SEARCH):  # each round closes something and hands the tag on
            if self._start_in_context(name, self.context()):
                self._start_in_body(name, tag)
                return
            if self._taken:
                return

    def _start_before_body(self, name: bytes) -> bool:
        """Take what stands before the body; False for a tag that begins it."""
        if name == b"frameset" and not self._stack:
            self.frameset = True
            return True
        if name == b"noscript":
            self._push(name)
        if name in html.HEAD and name != b"template":
            return True
        if name != b"template" and not self._open[b"template"]:
            self.mode = "body"
        return False

    def _start_in_context(self, name: bytes, context: str) -> bool:
        """Apply the rules of tables and `select`; True hands the tag to the body's rules."""
        if context in ("", "template"):
            self._taken = name in html.STRUCTURE
            return not self._taken
        if context == "select":
            self._start_in_select(name)
            return False
        if context in ("cell", "caption"):
            if name not in html.STRUCTURE:
                return True
            self._pop_until(html.CLOSES[context])
        elif context == "columns":
            self._taken = name == b"col"
            if not self._taken:
                self._pop_until(html.COLGROUP)
        elif name == b"table":
            self._pop_until(html.TABLE)
        elif name not in html.STRUCTURE:
            return True  # put before the table; the context says so
        else:
            self._start_in_table(name, context)
        return False

    def _start_in_table(self, name: bytes, context: str) -> None:
        if context == "row":
            if name in html.CELLS:
                self._back_to(html.ROW)
                self._take(name)
            else:
                self._pop_until(html.ROW)
        elif context == "section":
            if name == b"tr" or name in html.CELLS:
                self._back_to(html.SECTIONS)
                self._push(b"tr")
                self._taken = name == b"tr"
            else:
                self._pop_until(html.SECTIONS)
        else:
            self._back_to(html.TABLE)
            if name in (b"caption", b"colgroup") or name in html.SECTIONS:
                self._take(name)
            else:
                self._push(b"colgroup" if name == b"col" else b"tbody")

    def _take(self, name: bytes) -> None:
        self._push(name)
        self._taken = True

    def _start_in_select(self, name: bytes) -> None:
        if name in (b"option", b"optgroup"):
            if self._stack[-1] == b"option":
                self._pop()
            self._take(name)
        elif name == b"template":
            self.doubt = True
            self._take(name)
        elif name == b"select":
            self._pop_until(html.SELECT)
            self._taken = True
        elif name in (b"input", b"keygen", b"textarea") or (
            (name in html.STRUCTURE or name == b"table")
            and any(self._open[each] for each in _TABLE_NAMES)
        ):
            self._pop_until(html.SELECT)
        else:
            self._taken = True

    def _start_in_body(self, name: bytes, tag: bytes) -> None:
        if name == b"a":
            self._links_open[-1] = True
        if name == b"hr":
            self._close_p()
        if name in html.UNSTACKED:
            return
        if name in (b"svg", b"math"):
            if not tag.endswith(b"/>"):
                self._push((b"svg:" if name == b"svg" else b"mml:") + name)
            return
        if name in html.BLOCK:
            self._close_same(name)
            self._close_p()
            if name in html.HEADINGS and self._stack and self._stack[-1] in html.HEADINGS:
                self._pop()
        elif name == b"button" and self._in_scope(html.BUTTON, html.SCOPE):
            self._pop_until(html.BUTTON)
        elif name in (b"option", b"optgroup") and self._stack[-1:] == [b"option"]:
            self._pop()
        self.doubt = self.doubt or name == b"template"
        self._push(name, hidden=_HIDDEN.search(tag) is not None)

    def _close_same(self, name: bytes) -> None:
        """Let `li`, `dd` and `dt` end the one before them."""
        names = html.LI if name == b"li" else html.TERMS
        if name not in names:
            return
        for open_name in self._stack[: -MAX_SEARCH - 1 : -1]:
            if open_name in names:
                self._pop_until(names)
                return
            if open_name in html.SPECIAL and open_name not in (b"address", b"div", b"p"):
                return

    def end_tag(self, name: bytes) -> None:
        """Take an end tag, its name in lower case."""
        if self.frameset or (self.foreign() and self._foreign_end(name)):
            return
        if self.mode == "before" and self._end_before_body(name):
            return
        if self.mode == "after":
            if name == b"html":
                return
            self.mode = "body"
        self._taken = False
        for _ in range(MAX_SEARCH):
            if self._end_in_context(name, self.context()):
                self._end_in_body(name)
                return
            if self._taken:
                return

    def _end_before_body(self, name: bytes) -> bool:
        if name == b"noscript" and self._stack[-1:] == [name]:
            self._pop()
        if name not in (b"body", b"html", b"br") and not self._open[b"template"]:
            return True
        if not self._stack:
            self.mode = "body"
        return False

    def _end_in_context(self, name: bytes, context: str) -> bool:
        """Apply the rules of tables and `select`; True hands the tag to the body's rules."""
        own = html.OWN_END.get(context)
        if own is None:  # body, template
            self._taken = name in html.STRUCTURE or name == b"table"
            return not self._taken
        self._taken = True
        if name in own:
            self._end_own(name, context)
        elif name in (b"body", b"html") or (context == "columns" and name == b"col"):
            return False
        elif context == "columns":
            self._taken = False
            self._pop_until(html.COLGROUP)
        elif name == b"table" or name == b"tr" or name in html.SECTIONS:
            if self._in_scope(frozenset((name,)), html.TABLE_SCOPE) and (
                context != "caption" or name == b"table"
            ):
                self._taken = False  # ends what is open inside it first
                self._pop_until(html.CLOSES[context])
        elif name not in html.STRUCTURE and context != "select":
            return True
        else:
            return name == b"template"
        return False

    def _end_own(self, name: bytes, context: str) -> None:
        if context == "select" and name != b"select":
            if self._stack[-1] == name:
                self._pop()
        elif self._in_scope(frozenset((name,)), html.TABLE_SCOPE):
            self._pop_until(frozenset((name,)))

    def _end_in_body(self, name: bytes) -> None:
        if name in (b"body", b"html"):
            if not any(self._open[each] for each in html.OBJECTS):
                self.mode = "after"
        elif name == b"a":
            self._links_open[-1] = self._links_open[-1] and self.context() not in html.FLOW
        elif name in html.SCOPED_END:
            self._end_scoped(name)
        elif name == b"template" and self._open[name]:
            self._pop_until(html.TEMPLATE)
        elif self._open[name]:
            self._end_other(name)

    def _end_scoped(self, name: bytes) -> None:
        """End a block, if one is open that this tag can see."""
        names = html.HEADINGS if name in html.HEADINGS else frozenset((name,))
        if not self._in_scope(names, html.END_SCOPE.get(name, html.SCOPE)):
            return
        if name == b"form":
            self._remove(name)
        else:
            self._pop_until(names)

    def _end_other(self, name: bytes) -> None:
        for open_name in self._stack[: -MAX_SEARCH - 1 : -1]:
            if open_name == name:
                self._pop_until(frozenset((name,)))
                return
            if open_name in html.SPECIAL:
                return

    # ------------------------------------------------------------------------ svg and math

    def _foreign_start(self, name: bytes, tag: bytes) -> bool:
        """Take a start tag inside svg or math; False when it ends them and goes to HTML."""
        if name in html.BREAKOUT or (name == b"font" and html.FONT.search(tag)):
            while self.foreign():
                self._pop()
            return False
        space = self._stack[-1][:4]
        if name == b"svg":
            space = b"svg:"
        if name == b"annotation-xml":
            self.doubt = True  # its content is HTML or not, as an attribute says
        if not tag.endswith(b"/>"):
            self._push((b"html:" if name in html.INTEGRATION[space] else space) + name)
        return True

    def _foreign_end(self, name: bytes) -> bool:
        """Take an end tag inside svg or math; False when it goes to HTML's rules."""
        if name in (b"br", b"p"):
            self.doubt = True  # leaves foreign content since 2020 only
            while self.foreign():
                self._pop()
            return False
        known = self._open[b"svg:" + name] or self._open[b"mml:" + name]
        for depth, open_name in enumerate(self._stack[: -MAX_SEARCH - 1 : -1], 1):
            if not known or not open_name.startswith(FOREIGN):
                break
            if open_name[4:] == name:
                for _ in range(depth):
                    self._pop()
                return True
        self.doubt = True  # an element around the foreign content may end here
        return False

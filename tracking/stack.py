"""The stack of open elements: pushing, popping, scopes, and whether an image may stand on top.

Guarantees: every operation but popping costs a bounded amount, and each element is popped once.
Leaves to others: which tags push and pop what (`tree.py`).
"""

from collections import Counter

from tracking import elements as html

MAX_SEARCH = 512  # browsers nest no deeper
FOREIGN = (b"svg:", b"mml:")


class Stack:
    """The open elements of a document.

    The stack has no html, body and formatting elements; foreign ones are written "svg:name" or
    "mml:name", those of them whose content is HTML again "html:name". Beside it run the contexts:
    which table part or `select` decides about the next tag ("" for the body's own rules).
    """

    def __init__(self) -> None:
        self._stack: list[bytes] = []
        self._contexts: list[str] = []
        self._bad: list[bool] = []
        self._bad_open = 0
        self._open: Counter[bytes] = Counter()
        self._links_open = [False]  # one per marker (13.2.4.3): an <a> would be opened again

    def still(self) -> bool:
        """Say whether an image put here would stay here and be shown."""
        return not self._bad_open and not self._links_open[-1] and self.context() in html.FLOW

    def context(self) -> str:
        """Give the table part or `select` whose rules hold, or ""."""
        return self._contexts[-1] if self._contexts else ""

    def foreign(self) -> bool:
        """Say whether the current element is one of svg or math."""
        return bool(self._stack) and self._stack[-1].startswith(FOREIGN)

    def without_raw_text(self) -> bool:
        """Say whether the last start tag was one inside svg or math."""
        return bool(self._stack) and self._stack[-1].startswith((*FOREIGN, b"html:"))

    def inside(self, name: bytes) -> bool:
        """Say whether an element of this name is open."""
        return self._open[name] > 0

    def _push(self, name: bytes, *, hidden: bool = False) -> None:
        bad = hidden or name in html.BAD or name.startswith((*FOREIGN, b"html:"))
        self._stack.append(name)
        self._contexts.append(html.CONTEXT.get(name, self.context()))
        self._bad.append(bad)
        self._bad_open += bad
        self._open[name] += 1
        if name in html.MARKERS:
            self._links_open.append(False)

    def _pop(self) -> bytes:
        name = self._stack.pop()
        self._contexts.pop()
        self._bad_open -= self._bad.pop()
        self._open[name] -= 1
        if name in html.MARKERS and len(self._links_open) > 1:
            self._links_open.pop()
        return name

    def _pop_until(self, names: frozenset[bytes]) -> None:
        while self._stack and self._pop() not in names:
            pass

    def _back_to(self, names: frozenset[bytes]) -> None:
        while self._stack and self._stack[-1] not in names:
            self._pop()

    def _remove(self, name: bytes) -> None:
        """Take one element out from among the open ones (13.2.6.4.7, end tag "form")."""
        for depth, open_name in enumerate(self._stack[: -MAX_SEARCH - 1 : -1], 1):
            if open_name == name:
                self._bad_open -= self._bad[-depth]
                self._open[name] -= 1
                del self._stack[-depth], self._contexts[-depth], self._bad[-depth]
                return

    def _in_scope(self, names: frozenset[bytes], borders: frozenset[bytes]) -> bool:
        for name in self._stack[: -MAX_SEARCH - 1 : -1]:
            if name in names:
                return True
            if name in borders or name.startswith(b"html:"):
                return False
        return False

    def _close_p(self) -> None:
        if self._open[b"p"] and self._in_scope(html.P, html.BUTTON_SCOPE):
            self._pop_until(html.P)

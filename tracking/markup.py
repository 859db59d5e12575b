"""HTML as a browser's tokenizer sees it, on bytes, in linear time, without building a tree.

Guarantees: tags, attribute values, comments and raw text end where the HTML Standard (section
13.2.5, scripting off) says they end, for any bytes in an ASCII-compatible charset; every byte is
looked at a bounded number of times, since no pattern gives back what it has taken (possessive
quantifiers) and whatever runs to the end of the input ends the scan.
Leaves to others: which of the links found here are tracked (`urls.py`, `plan.py`), and where a
pixel may stand in broken or unusual documents (`placement.py`, the slow and exact reading).

`scan` is the quick reading. It stops only at what matters: anchors, tables, comments, raw text,
and the ends of the body. On meeting an element whose content has rules of its own (`svg`,
`select`, `template` ...) it gives up and says so.
"""

import re
from typing import NamedTuple

W = rb"[\t\n\f\r ]"
_NAME_END = rb"(?=[\t\n\f\r />])"
# 13.2.5.32: "=" may begin an attribute's name; 13.2.5.35-37: a value begins behind "=" only.
# A quoted value that never ends runs to the end of the input, and the tag with it.
_VALUE = rb'"[^"]*+(?:"|\Z)|\'[^\']*+(?:\'|\Z)|[^\t\n\f\r >"\'][^\t\n\f\r >]*+|(?=>)'
_ATTRIBUTE = (
    rb"(?:=[^\t\n\f\r />=]*+|[^\t\n\f\r />=]++)"
    rb"(?:[\t\n\f\r ]*+=[\t\n\f\r ]*+(?:" + _VALUE + rb"))?+"
)
_ATTRIBUTES = rb"(?:[\t\n\f\r /]*+" + _ATTRIBUTE + rb")*+[\t\n\f\r /]*+"
# The usual shape of a tag, for speed: all values in double quotes right behind "=".
_USUAL = (
    rb"/?[a-zA-Z][^\t\n\f\r />=\"']*+"
    rb"(?:[\t\n\f\r /][^>\"'=]*+(?:(?<![\t\n\f\r /\"'])=\"[^\"]*+\"[^>\"'=]*+)*+)?+>"
)
_ANY = rb"/?[a-zA-Z][^\t\n\f\r />]*+" + _ATTRIBUTES + rb">"

TAG = re.compile(rb"<(/?)([a-zA-Z][^\t\n\f\r />]*+)" + _ATTRIBUTES + rb">")
ATTRIBUTE = re.compile(
    rb"[\t\n\f\r /]*+(=[^\t\n\f\r />=]*+|[^\t\n\f\r />=]++)"
    rb"(?:[\t\n\f\r ]*+=[\t\n\f\r ]*+"
    rb'(?:"([^"]*+)"|\'([^\']*+)\'|([^\t\n\f\r >"\'][^\t\n\f\r >]*+)|(?=>)))?+'
)
_COMMENT_END = re.compile(rb"--!?>")
_CONDITIONAL = re.compile(rb"(?i:<!--[\t\n\f\r ]*+\[if[^\]<>]*+\]>)")
_ENDIF = re.compile(rb"(?i:<!\[endif)")

RAW_TEXT = frozenset(
    [b"style", b"script", b"title", b"textarea", b"xmp", b"iframe", b"noembed", b"noframes"]
)
_RAW_END = {name: re.compile(rb"(?i:</" + name + rb")" + _NAME_END) for name in RAW_TEXT}
_SCRIPT = re.compile(rb"<!--|-->|(?i:<(/?)script)" + _NAME_END)

# What the quick reading stops at. Everything else is passed over inside one pattern.
_UNUSUAL = (
    b"svg math select template frameset noscript object button map marquee applet video audio "
    b"plaintext"
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
    rb"(?:[^<]++|<(?!/?" + _trie(_STOPS) + _NAME_END + rb")(?:" + _USUAL + b"|" + _ANY + rb")"
    rb"|<(?![a-zA-Z/!?]))*+"
)
_EVENT = re.compile(rb"<(/?)(" + _trie(_STOPS) + rb")" + _NAME_END)
_ANCHOR = re.compile(
    rb"<(/?)([^\t\n\f\r />]++)"
    rb"(?:[\t\n\f\r /]*+(?![hH][rR][eE][fF][\t\n\f\r />=])" + _ATTRIBUTE + rb")*+"
    rb"(?:[\t\n\f\r /]*+[hH][rR][eE][fF]"
    rb"(?:[\t\n\f\r ]*+=[\t\n\f\r ]*+"
    rb'(?:"([^"]*+)"|\'([^\']*+)\'|([^\t\n\f\r >"\'][^\t\n\f\r >]*+)|(?=>)))?+)?+'
    + _ATTRIBUTES
    + rb">"
)
_MARKS = re.compile(rb"(?i:track)|(?i:data-msys-unsubscribe)")


class Anchor(NamedTuple):
    """A tag with a link: where its first href's value stands, without quotes.

    `start` and `end` are -1 for a tag without href (or with an empty unquoted one). `excluded`
    names the vendor's mark that asks for no tracking ("" for none), `removals` are the spans of
    such marks. `conditional` is true inside a comment that only Outlook reads.
    """

    tag: bytes
    start: int
    end: int
    conditional: bool
    excluded: str
    removals: tuple[tuple[int, int], ...]


class Scan(NamedTuple):
    """What the quick reading found: the anchors, and where a pixel may stand (-1: not known).

    `unusual` means that the document needs the exact reading; then nothing else here holds.
    """

    anchors: list[Anchor]
    pixel: int
    unusual: bool
    over_budget: bool = False


class Comment(NamedTuple):
    """A comment's end, and the content that Outlook reads (0, 0 when it is no such comment)."""

    end: int
    inner_start: int
    inner_end: int


def comment(data: bytes, at: int, stop: int) -> Comment:
    """Read the comment, declaration or bogus comment whose "<" is at `at` (13.2.5.41 to .53)."""
    if not data.startswith(b"<!--", at):
        end = data.find(b">", at, stop)
        return Comment(stop if end < 0 else end + 1, 0, 0)
    if data.startswith(b">", at + 4) and at + 4 < stop:
        return Comment(at + 5, 0, 0)
    if data.startswith(b"->", at + 4) and at + 5 < stop:
        return Comment(at + 6, 0, 0)
    close = _COMMENT_END.search(data, at + 4, stop)
    end = close.end() if close else stop
    opening = _CONDITIONAL.match(data, at, end)
    if opening is None:
        return Comment(end, 0, 0)
    closing = _ENDIF.search(data, opening.end(), end)
    inner_end = closing.start() if closing else (close.start() if close else end)
    return Comment(end, opening.end(), max(opening.end(), inner_end))


def raw_text_end(data: bytes, name: bytes, at: int, stop: int) -> int:
    """Give the offset of the end tag that closes this raw text element's content, or `stop`."""
    if name != b"script":
        found = _RAW_END[name].search(data, at, stop)
        return found.start() if found else stop
    # 13.2.5.15-31: inside "<!--", "<script" hides one "</script"
    escaped = hidden = False
    while found := _SCRIPT.search(data, at, stop):
        at = found.end()
        token = found[0]
        if token == b"<!--":
            escaped = True
            at -= 2  # its dashes may already be those of "-->"
        elif token == b"-->":
            escaped = hidden = False
        elif not found[1]:
            hidden = escaped
        elif hidden:
            hidden = False
        else:
            return found.start()
    return stop


def anchor(data: bytes, at: int, stop: int, *, conditional: bool) -> tuple[Anchor | None, int]:
    """Read the start tag at `at` with its first href; gives (None, stop) if it never ends."""
    match = _ANCHOR.match(data, at, stop)
    if match is None:
        return None, stop
    start = end = -1
    group = match.lastindex
    if group is not None and group > 2:
        start, end = match.span(group)
    excluded = ""
    removals: tuple[tuple[int, int], ...] = ()
    if _MARKS.search(data, at, match.end()):
        excluded, removals = exclusion(data, match.end(2), match.end())
    return Anchor(match[2].lower(), start, end, conditional, excluded, removals), match.end()


# Vendors' marks on a link: attribute -> the values that ask for no tracking (None: any).
_EXCLUSIONS: dict[bytes, tuple[str, frozenset[bytes] | None]] = {
    b"clicktracking": ("sendgrid", frozenset([b"off"])),
    b"ses:no-track": ("ses", None),
    b"disable-tracking": ("mailgun", frozenset([b"true", b"", b"yes", b"1"])),
    b"data-disable-tracking": ("mailgun", frozenset([b"true", b"", b"yes", b"1"])),
    b"data-pm-no-track": ("postmark", None),
    b"data-msys-clicktrack": ("sparkpost", frozenset([b"0"])),
    b"data-msys-unsubscribe": ("sparkpost", frozenset([b"1"])),
    b"mc:disable-tracking": ("mandrill", None),
    b"mautic:disable-tracking": ("mautic", frozenset([b"true", b"", b"yes", b"1"])),
}


def exclusion(data: bytes, at: int, stop: int) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Find vendors' marks among a tag's attributes: the first that excludes, and all their spans.

    `at` is right behind the tag's name, `stop` behind its ">". A span begins at the white space
    before the attribute, so that taking it out leaves the tag in one piece.
    """
    excluded = ""
    spans: list[tuple[int, int]] = []
    while (found := ATTRIBUTE.match(data, at, stop - 1)) and found.end() > at:
        at = found.end()
        name = found[1].lower()
        rule = _EXCLUSIONS.get(name)
        if rule is None:
            continue
        value = (found[2] or found[3] or found[4] or b"").strip().lower()
        vendor, asked = rule
        if asked is None or value in asked:
            excluded = excluded or vendor
        spans.append(found.span())
    return excluded, tuple(spans)


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
        second = data[at + 1 : at + 2]
        if second not in (b"!", b"?") and (
            second != b"/" or data[at + 2 : at + 3].isalpha() or at + 2 >= self.stop
        ):
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
            self.body, self.after = True, False
            self.depth = max(0, self.depth + (-1 if end_tag else 1))
        elif name == b"body" or name == b"html":
            if end_tag:
                self.end_of_body(name, at)
            elif name == b"body":
                self.body, self.after = True, False
        elif name not in RAW_TEXT:
            self.unusual = True
        elif not end_tag:
            self.after = False
            end = raw_text_end(self.data, name, end, self.stop)
            self.cut = end >= self.stop
        return end

    def anchor(self, name: bytes, at: int, *, end_tag: bool) -> int:
        found, end = anchor(self.data, at, self.stop, conditional=False)
        if found is None:
            self.cut = True
            return end
        self.body, self.after = True, False
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
            return
        self.candidate = at
        self.after = True


_INNER = re.compile(rb"<(?:[aA](?:[rR][eE][aA])?|[vV]:[a-zA-Z]++)" + _NAME_END)
_SKIP = re.compile(
    rb"(?:[^<]++|<(?!(?:[aA](?:[rR][eE][aA])?|[vV]:[a-zA-Z]++)"
    + _NAME_END
    + rb")(?:"
    + _ANY
    + rb"|(?![a-zA-Z/])|/(?![a-zA-Z])))*+"
)


def conditional_anchors(data: bytes, at: int, stop: int) -> list[Anchor]:
    """Find `a`, `area` and `v:*` with a link in the content of a conditional comment."""
    found: list[Anchor] = []
    while at < stop:
        skipped = _SKIP.match(data, at, stop)
        at = skipped.end() if skipped else at
        if at >= stop or not _INNER.match(data, at, stop):
            break
        each, at = anchor(data, at, stop, conditional=True)
        if each is not None and each.start >= 0:
            found.append(each)
    return found

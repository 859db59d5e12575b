"""HTML as a browser's tokenizer sees it, on bytes, in linear time, without building a tree.

Guarantees: tags, attribute values, comments and raw text end where the HTML Standard (section
13.2.5, scripting off) says they end, for any bytes in an ASCII-compatible charset; every byte is
looked at a bounded number of times, since no pattern gives back what it has taken (possessive
quantifiers) and whatever runs to the end of the input ends the scan.
Leaves to others: reading a whole document, quickly (`scan.py`) or exactly (`placement.py`).
"""

import re
from typing import NamedTuple

W = rb"[\t\n\f\r ]"
NAME_END = rb"(?=[\t\n\f\r />])"
# 13.2.5.32: "=" may begin an attribute's name; 13.2.5.35-37: a value begins behind "=" only.
# A quoted value that never ends runs to the end of the input, and the tag with it.
_VALUE = rb'"[^"]*+(?:"|\Z)|\'[^\']*+(?:\'|\Z)|[^\t\n\f\r >"\'][^\t\n\f\r >]*+|(?=>)'
_ATTRIBUTE = (
    rb"(?:=[^\t\n\f\r />=]*+|[^\t\n\f\r />=]++)"
    rb"(?>(?:[\t\n\f\r ]*+=[\t\n\f\r ]*+(?:" + _VALUE + rb"))?)"
)
_ATTRIBUTES = rb"(?>(?:[\t\n\f\r /]*+" + _ATTRIBUTE + rb")*)[\t\n\f\r /]*+"
ANY = rb"/?[a-zA-Z][^\t\n\f\r />]*+" + _ATTRIBUTES + rb">"

TAG = re.compile(rb"<(/?)([a-zA-Z][^\t\n\f\r />]*+)" + _ATTRIBUTES + rb">")
ATTRIBUTE = re.compile(
    rb"[\t\n\f\r /]*+(=[^\t\n\f\r />=]*+|[^\t\n\f\r />=]++)"
    rb"(?>(?:[\t\n\f\r ]*+=[\t\n\f\r ]*+"
    rb'(?:"([^"]*+)"|\'([^\']*+)\'|([^\t\n\f\r >"\'][^\t\n\f\r >]*+)|(?=>)))?)'
)
_COMMENT_END = re.compile(rb"--!?>")
_CONDITIONAL = re.compile(rb"(?i:<!--[\t\n\f\r ]*+\[if[^\]<>]*+\]>)")
_ENDIF = re.compile(rb"(?i:<!\[endif)")

RAW_TEXT = frozenset(
    [b"style", b"script", b"title", b"textarea", b"xmp", b"iframe", b"noembed", b"noframes"]
)
_RAW_END = {name: re.compile(rb"(?i:</" + name + rb")" + NAME_END) for name in RAW_TEXT}
_SCRIPT = re.compile(rb"<!--|-->|(?i:<(/?)script)" + NAME_END)

# A start tag with its first href, behind the name; the three groups are the value's forms.
ANCHOR_REST = (
    rb"(?>(?:[\t\n\f\r /]*+(?![hH][rR][eE][fF][\t\n\f\r />=])" + _ATTRIBUTE + rb")*)"
    rb"(?>(?:[\t\n\f\r /]*+[hH][rR][eE][fF]"
    rb"(?>(?:[\t\n\f\r ]*+=[\t\n\f\r ]*+"
    rb'(?:"([^"]*+)(?:"|\Z)|\'([^\']*+)(?:\'|\Z)|([^\t\n\f\r >"\'][^\t\n\f\r >]*+)|(?=>)))?))?)'
    + _ATTRIBUTES
    + rb">"
)
_ANCHOR = re.compile(rb"<(/?)([^\t\n\f\r />]++)" + ANCHOR_REST)
_MARKS = re.compile(rb"(?i:track)|(?i:data-msys-unsubscribe)")
MARKS = (b"track", b"data-msys-unsubscribe")  # in lower case; every vendor's mark has one of them


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


def ends_input(data: bytes, at: int, stop: int) -> bool:
    """Say whether the "<" at `at`, which begins no whole tag, begins one that never ends."""
    second = data[at + 1 : at + 2]
    if second in (b"!", b"?"):
        return False
    return second != b"/" or at + 2 >= stop or data[at + 2 : at + 3].isalpha()


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


_SEPARATES = b"\t\n\f\r >"  # not "/": behind an unquoted value it would become part of it


def exclusion(data: bytes, at: int, stop: int) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Find vendors' marks among a tag's attributes: the first that excludes, and all their spans.

    `at` is right behind the tag's name, `stop` behind its ">". A span begins at the white space
    before the attribute, so that taking it out leaves the tag in one piece; where none follows it
    (`<a clicktracking="off"href=`), what is before it stays and keeps its neighbours apart.
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
        begin = found.start() if data[at] in _SEPARATES else found.start(1)
        spans.append((begin, at))
    return excluded, tuple(spans)


_INNER = re.compile(rb"<(?:[aA](?:[rR][eE][aA])?|[vV]:[a-zA-Z]++)" + NAME_END)
_SKIP = re.compile(
    rb"(?>(?:[^<]++|<(?!(?:[aA](?:[rR][eE][aA])?|[vV]:[a-zA-Z]++)"
    + NAME_END
    + rb")(?:"
    + ANY
    + rb"|(?![a-zA-Z/])|/(?![a-zA-Z])))*)"
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

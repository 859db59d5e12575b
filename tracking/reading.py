"""What is decided about one part, wherever it stands in its message.

Guarantees: a reading depends on nothing but the part's bytes, its type, encoding and charset, and
the rules; it may serve every message that has the same part, as those of a campaign do. It is not
changed once it is made. Offsets count in the part's body, links from 0.
Leaves to others: which parts are read (`parts.py`), and their place in the message (`plan.py`).
"""

from collections.abc import Callable
from sys import getsizeof, intern
from typing import NamedTuple

import msgspec

from relay.mail.mime import Part
from tracking.kept import held
from tracking.parts import Html, open_part
from tracking.splice import CLICK, PIXEL, REMOVE, Edit, Hole, holes, lines_fit
from tracking.text import TextLink, text_links
from tracking.tokens import HEAD_SIZE, encoded_tail
from tracking.urls import field, judge, usual_host

# "!important", for mails size all their images with it: "img{width:100%!important}".
_PIXEL_STYLE = (
    b"position:absolute;width:1px;height:1px;min-width:0;min-height:0;max-width:1px;"
    b"max-height:1px;margin:0;padding:0;border:0;outline:0;background:none;box-shadow:none"
)
_PIXEL_END = (
    b'.gif" width="1" height="1" alt="" border="0" style="'
    + _PIXEL_STYLE.replace(b";", b"!important;")
    + b'!important">'
)

# Octets of memory, without the text: of a reading itself, and of one decision, edit, and so on,
# with their offsets and places in lists.
_OWN = 1000
_DECISION = 112
_EDIT = 168
_LINK = 8
_PLACED = 300
_HOLE = 144
_PACKED = 250


class Switches(msgspec.Struct, frozen=True, array_like=True):
    """What may be tracked: opens, clicks, links in Outlook's comments, links in plain text."""

    opens: bool
    clicks: bool
    outlook: bool = True
    plain_text: bool = False


class Rules(NamedTuple):
    """All that decides besides the part: it is the same for most messages of a campaign.

    `max_html` is in octets, `max_url` in characters of a tracking URL.
    """

    switches: Switches
    base_url: str
    own_hosts: frozenset[str]
    unsubscribe: frozenset[str]
    max_html: int
    max_url: int


class Placed(NamedTuple):
    """The holes of a part; `width` is -1 where they are filled in the raw bytes, else that of
    `PartEdit`.
    """

    holes: list[Hole]
    width: int


class Packed(NamedTuple):
    """A plan as it is stored: `data` is b"" where nothing is replaced, for the reason `skipped`.

    Its offsets count from `at` in the message.
    """

    skipped: str
    data: bytes = b""
    at: int = 0


class Reading:
    """What was read in a part.

    `anchors` counts its anchors, `place` is where the pixel may go (-1: nowhere); `decisions` are
    (offset, URL, rule), the first about the part itself. `invalid`: an href that is no text in its
    charset. `own_links`, `own_pixel`: it has such of ours already. `packed` is for `packed.py`, by
    the part's path. `grown` is told how many octets of memory the reading holds more than before.
    """

    __slots__ = (
        "_added",
        "_base",
        "_edits",
        "_opened",
        "_placed",
        "anchors",
        "decisions",
        "grown",
        "invalid",
        "links",
        "own_links",
        "own_pixel",
        "packed",
        "place",
    )

    def __init__(self, opened: Html, found: "_Deciding") -> None:
        self.anchors = len(opened.anchors)
        self.decisions = found.decisions
        self.invalid = opened.invalid
        self.own_links = found.own_links
        self.own_pixel = opened.has_own_pixel(found.rules.own_hosts)
        self.links = found.links
        self.place = opened.place
        self._opened = opened
        self._base = found.base
        self._edits = found.edits
        self._placed: dict[bool, Placed] = {}
        self.packed: dict[str, Packed] = {}
        self.grown: Callable[[int], None] | None = None
        self._added = 0
        opened.anchors = []  # their edits are made: nobody asks for them again

    def octets(self) -> int:
        """Count the octets of memory that it holds, the part's bytes included."""
        opened, edits = self._opened, self._edits
        return (
            _OWN
            + held((opened.decoded.raw, opened.decoded.data, opened.data))
            + _DECISION * len(self.decisions)
            + sum([getsizeof(url) for _, url, _ in self.decisions])
            + _EDIT * len(edits)
            + sum([getsizeof(edit.after) for edit in edits])
            + _LINK * len(self.links)
            + sum(map(getsizeof, self.links))
            + self._added
        )

    def keep_packed(self, path: str, made: Packed) -> None:
        """Keep the packed plan of messages in which the part stands at this path."""
        self.packed[path] = made
        self._grow(_PACKED + getsizeof(made.data))

    def _grow(self, octets: int) -> None:
        self._added += octets
        if self.grown is not None:
            self.grown(octets)

    def placed(self, *, pixel: bool) -> Placed:
        """Find the place of the edits in the raw bytes, with or without a pixel."""
        placed = self._placed.get(pixel)
        if placed is None:
            placed = self._placed[pixel] = self._place(pixel=pixel)
            octets = _PLACED + _HOLE * len(placed.holes)
            if self._opened.decoded.encoding == "quoted-printable":  # broken into lines anew
                octets += sum([getsizeof(hole.before) for hole in placed.holes])
                octets += sum([getsizeof(hole.after) for hole in placed.holes])
            self._grow(octets)
        return placed

    def _place(self, *, pixel: bool) -> Placed:
        opened, wanted = self._opened, self._edits
        if pixel:
            before = b'<img src="' + self._base + b"/o/"
            mark = Edit(PIXEL, opened.place, opened.place, 0, before, _PIXEL_END)
            wanted = sorted([*wanted, mark], key=lambda edit: (edit.start, edit.end))
        if not wanted:
            return Placed([], -1)
        decoded = opened.decoded
        found = holes(decoded, wanted, 0)
        if decoded.encoding == "base64":
            return Placed(found, opened.base64_width())
        if decoded.encoding != "quoted-printable" and not lines_fit(decoded.raw, wanted):
            return Placed(found, 0)
        return Placed(found, -1)


def read_part(body: bytes, part: Part, rules: Rules) -> Reading | str:
    """Read a part with this body, or give the reason to leave it."""
    opened = open_part(body, part, rules.max_html, outlook=rules.switches.outlook)
    if isinstance(opened, str):
        return opened
    deciding = _Deciding(rules)
    deciding.read(opened)
    return Reading(opened, deciding)


def shifted(found: list[Hole], offset: int, base: int) -> list[Hole]:
    """Give holes as they stand `offset` octets further on, their links counted from `base`."""
    if not (offset or base):
        return found
    return [
        Hole(
            hole.kind,
            hole.start + offset,
            hole.end + offset,
            hole.link + base if hole.kind == CLICK else 0,
            hole.before,
            hole.after,
        )
        for hole in found
    ]


class _Deciding:
    """The decisions about the links of one part."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.base = rules.base_url.encode("ascii")
        self.click = self.base + b"/c/"
        self.room = rules.max_url - len(self.click) - HEAD_SIZE  # for a destination's characters
        self.links: list[bytes] = []
        self.edits: list[Edit] = []
        self.decisions: list[tuple[int, str, str]] = []
        self.own_links = False

    def read(self, opened: Html) -> None:
        """Decide about the links of a part."""
        self.decisions.append((-1, opened.content_type, ""))
        if not self.rules.switches.clicks:
            return
        found = self.edits
        if opened.is_text:
            for link in text_links(opened.data):
                self.text_edit(opened, link)
            return
        for anchor, reason in opened.anchors:
            value = opened.data[anchor.start : anchor.end]
            rule = reason or (intern(f"excluded-by-{anchor.excluded}") if anchor.excluded else "")
            self.edit(opened, anchor.start, anchor.end, value, rule)
            if not reason:
                found += [Edit(REMOVE, at, end, 0, b"", b"") for at, end in anchor.removals]
        if any(edit.kind == REMOVE for edit in found):
            found.sort(key=lambda edit: edit.start)

    def text_edit(self, opened: Html, link: TextLink) -> None:
        rule = "excluded-by-sparkpost" if link.excluded else ""
        self.edit(opened, link.start, link.end, opened.data[link.start : link.end], rule)
        if link.mark_end > link.end:
            self.edits.append(Edit(REMOVE, link.end, link.mark_end, 0, b"", b""))

    def edit(self, opened: Html, start: int, end: int, value: bytes, rule: str) -> None:
        """Decide about one link and add its edit if it is rewritten."""
        plain = _without_references(value) if not opened.is_text else value
        host = None if plain is None else usual_host(plain)
        if plain is not None and host is not None and host not in self.rules.own_hosts:
            url, destination = plain.decode("ascii"), plain
            if not rule and url in self.rules.unsubscribe:
                rule = "list-unsubscribe"
        else:
            url, rule, destination = self.unusual(opened, start, end, rule)
        if not rule:
            tail = encoded_tail(destination)
            if self.room < len(tail):
                rule = "too-long"
            else:
                self.edits.append(Edit(CLICK, start, end, len(self.links), self.click, tail))
                self.links.append(destination)
        self.decisions.append((start, url, rule))

    def unusual(self, opened: Html, start: int, end: int, rule: str) -> tuple[str, str, bytes]:
        """Apply all rules about URLs; gives the URL, the rule, and the destination field."""
        text = opened.text(start, end)
        if text is None:
            opened.invalid = True
            text = ""
        verdict = judge(text, self.rules.own_hosts, self.rules.unsubscribe)
        if verdict.reason == "own-host" and _is_click(verdict.url):
            self.own_links = True
        rule = rule or verdict.reason
        destination = None if rule else field(verdict.url, opened.charset.query)
        if destination is None:
            return verdict.url, rule or "query-charset", b""
        return verdict.url, rule, destination


def _without_references(value: bytes) -> bytes | None:
    """Decode "&amp;", the reference that URLs are full of; None if there is any other "&"."""
    if b"&" not in value:
        return value
    plain = value.replace(b"&amp;", b"&")
    return plain if len(value) - len(plain) == 4 * value.count(b"&") else None


def _is_click(url: str) -> bool:
    """Say whether the path of a URL on a tracking host is one of a click."""
    return "/c/" in url

"""The tracking plan of a message: what is replaced in every copy of it, decided once.

`compile_plan` reads a message when it is accepted and decides for each part and each link. A
plan is small, stored with the message, and filled in per recipient by `render.py`.

Guarantees: a plan changes href values of anchors, removes vendors' marks from them, and inserts
one pixel; everything else of the message stays the same bytes (base64 parts: the same decoded
bytes). What cannot be done safely is left, with a reason: for the whole message (`skipped`), a
part, or a link. Time is linear and every count is bounded. No input raises.
Leaves to others: whether tracking is on, when to sign, and who the recipient is.

Reasons for a message: no-html, nothing-to-track, switched-off, signed, report, already-tracked,
too-many-links, too-deep, too-many-parts, bad-header, duplicate-*; and where no part could be
changed, the reason of the first one with HTML.
Reasons for a part: attachment, has-filename, in-signed, in-encrypted, in-message, report, unclosed,
unknown-encoding, qp-malformed, base64-malformed, charset-unknown, charset-wide, charset-stateful,
charset-invalid, nul, bare-line-end, too-large, over-budget, line-limit, inline-pgp, empty.
Reasons for a link: empty, fragment, placeholder, protocol-relative, relative, scheme, no-host,
bad-host, own-host, list-unsubscribe, excluded-by-VENDOR, too-long, query-charset, foreign,
template, select, frameset; or its part's.
"""

from urllib.parse import urlsplit

import msgspec

from relay.mail.mime import Part, Tree, walk
from tracking.fields import encoding_field, unsubscribe_urls
from tracking.parts import Html, candidates, open_part
from tracking.splice import CLICK, PIXEL, REMOVE, Edit, Hole, holes, lines_fit
from tracking.text import TextLink, text_links
from tracking.tokens import HEAD_SIZE, encoded_tail
from tracking.urls import field, judge, usual_host

MAX_LINKS = 1000
MAX_HTML = 2 * 1024 * 1024
MAX_URL = 2048

_PIXEL_END = (
    b'.gif" width="1" height="1" alt="" border="0" '
    b'style="position:absolute;width:1px;height:1px;border:0">'
)


class Switches(msgspec.Struct, frozen=True, array_like=True):
    """What may be tracked: opens, clicks, links in Outlook's comments, links in plain text."""

    opens: bool
    clicks: bool
    outlook: bool = True
    plain_text: bool = False


class Decision(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What happened to a link or, with `offset` -1, to a part.

    `offset` counts in the decoded part; `rule` is "" for a rewritten link or a part that was
    read, else the reason it was left; `url` is what the link leads to.
    """

    part: str
    offset: int
    url: str
    rule: str


class PartEdit(msgspec.Struct, frozen=True, array_like=True):
    """A part whose body is encoded anew: its range in the message, and the holes in its data.

    `width` is the line width of a base64 part. 0 stands for a 7bit or 8bit part that the links
    would give lines over 998 octets: it becomes quoted-printable, `field_start` to `field_end`
    being its Content-Transfer-Encoding field (or the place for one).
    """

    start: int
    end: int
    width: int
    holes: list[Hole]
    field_start: int = 0
    field_end: int = 0


class Plan(msgspec.Struct, frozen=True, array_like=True):
    """What is replaced in a message; `skipped` is "" or why nothing is.

    `host` is the tracking host the plan's URLs name. `links` are the destination fields by link
    index, `holes` those in the raw message and `parts` the parts encoded anew, both in order.
    """

    skipped: str
    host: str
    links: list[bytes] = []
    holes: list[Hole] = []
    parts: list[PartEdit] = []
    decisions: list[Decision] = []
    has_pixel: bool = False


class Budget(msgspec.Struct, frozen=True):
    """Limits of one message: links, bytes of an HTML part, characters of a tracking URL."""

    links: int = MAX_LINKS
    html: int = MAX_HTML
    url: int = MAX_URL
    depth: int = 64
    parts: int = 1000


def compile_plan(
    message: bytes,
    switches: Switches,
    *,
    base_url: str,
    own_hosts: frozenset[str] = frozenset(),
    rewrite_signed: bool = False,
    budget: Budget | None = None,
) -> Plan:
    """Decide what is replaced in a message.

    `base_url` is the scheme and tracking host of its links ("https://t.shop.test"), `own_hosts`
    all tracking hosts of the installation in lower case. `rewrite_signed` also changes messages
    with a DKIM or ARC signature, which then no longer verifies. Raises ValueError for a base URL
    without scheme and host, nothing for any message.
    """
    host = (urlsplit(base_url).hostname or "").lower()
    if not host or not base_url.isascii() or base_url.endswith("/"):
        raise ValueError(f"base URL {base_url!r}: expected scheme and host, like https://t.test")
    limits = budget or Budget()
    if not (switches.opens or switches.clicks):
        return Plan("switched-off", host)
    tree = walk(message, max_depth=limits.depth, max_parts=limits.parts)
    reason = _refusal(message, tree, rewrite_signed=rewrite_signed)
    if reason:
        return Plan(reason, host)
    compiler = _Compiler(message, tree, switches, base_url, own_hosts | {host}, limits)
    return compiler.compile(host)


def _refusal(message: bytes, tree: Tree, *, rewrite_signed: bool) -> str:
    """Give the reason to leave a whole message before looking into its parts."""
    if tree.defects:
        return tree.defects[0]
    root = tree.root
    if _UNREADABLE & set(root.defects) or not root.header.fields:
        return "bad-header"
    for defect in root.defects:
        if defect.startswith("duplicate-"):
            return defect
    if root.content_type == "multipart/report":
        return "report"
    if not rewrite_signed:
        for each in root.header.fields:
            if each.name.lower() in _SIGNATURES:
                return "signed"
    return ""


_UNREADABLE = {"no-blank-line-after-header", "space-before-colon"}
_SIGNATURES = frozenset(
    [b"dkim-signature", b"arc-message-signature", b"arc-seal", b"domainkey-signature"]
)


class _Compiler:
    """The compilation of one message."""

    def __init__(
        self,
        message: bytes,
        tree: Tree,
        switches: Switches,
        base_url: str,
        own_hosts: frozenset[str],
        limits: Budget,
    ) -> None:
        self.message = message
        self.tree = tree
        self.switches = switches
        self.base = base_url.encode("ascii")
        self.click = self.base + b"/c/"
        self.room = limits.url - len(self.click) - HEAD_SIZE  # for a destination's characters
        self.own_hosts = own_hosts
        self.limits = limits
        self.unsubscribe = unsubscribe_urls(tree.root)
        self.links: list[bytes] = []
        self.decisions: list[Decision] = []
        self.reason = ""
        self.own_links = False
        self.seen = 0

    def compile(self, host: str) -> Plan:
        ready: list[tuple[Html, list[Edit]]] = []
        for part, refusal in candidates(self.tree, plain_text=self.switches.plain_text):
            opened = refusal or open_part(
                self.message, part, self.limits.html, outlook=self.switches.outlook
            )
            if isinstance(opened, str):
                self.leave(part, opened)
                continue
            self.seen += len(opened.anchors)
            if self.seen > self.limits.links:
                return Plan("too-many-links", host)
            edits = self.edits(opened)
            if opened.invalid:
                self.withdraw(opened, "charset-invalid")
                continue
            if self.own_links or opened.has_own_pixel(self.own_hosts):
                return Plan("already-tracked", host)
            if len(self.links) > self.limits.links:  # in plain text
                return Plan("too-many-links", host)
            ready.append((opened, edits))
        plan_holes: list[Hole] = []
        parts: list[PartEdit] = []
        wants_pixel = self.switches.opens
        for opened, edits in ready:
            # The first part is the one that people are shown; many clients list others as files.
            pixel = wants_pixel and opened.place >= 0
            placed = self.placed(opened, edits, pixel=pixel)
            wants_pixel = wants_pixel and not pixel
            if isinstance(placed, PartEdit):
                parts.append(placed)
            else:
                plan_holes += placed
        changed = bool(plan_holes) or any(each.holes for each in parts)
        has_pixel = self.switches.opens and not wants_pixel
        skipped = "" if changed else (self.reason or ("nothing-to-track" if ready else "no-html"))
        return Plan(
            skipped, host, self.links, plan_holes, parts, self.decisions, has_pixel and changed
        )

    def leave(self, part: Part, reason: str) -> None:
        self.reason = self.reason or reason
        self.decisions.append(Decision(part.path, -1, part.content_type, reason))

    def withdraw(self, opened: Html, reason: str) -> None:
        """Leave a part after all: all its links or none, for figures of some would lie."""
        path = opened.part.path
        self.reason = self.reason or reason
        self.decisions = [
            Decision(each.part, each.offset, each.url, each.rule or reason)
            if each.part == path
            else each
            for each in self.decisions
        ]

    def placed(self, opened: Html, edits: list[Edit], *, pixel: bool) -> PartEdit | list[Hole]:
        """Find the place of a part's edits in its raw bytes."""
        wanted = edits
        if pixel:
            before = b'<img src="' + self.base + b"/o/"
            mark = Edit(PIXEL, opened.place, opened.place, 0, before, _PIXEL_END)
            wanted = sorted([*edits, mark], key=lambda edit: (edit.start, edit.end))
        if not wanted:
            return []
        decoded, part = opened.decoded, opened.part
        if decoded.encoding == "base64":
            found = holes(decoded, wanted, 0)
            return PartEdit(part.body_start, part.end, opened.base64_width(), found)
        if decoded.encoding != "quoted-printable" and not lines_fit(decoded.raw, wanted):
            start, end = encoding_field(part)
            return PartEdit(part.body_start, part.end, 0, holes(decoded, wanted, 0), start, end)
        return holes(decoded, wanted, part.body_start)

    def edits(self, opened: Html) -> list[Edit]:
        """Decide about the links of a part."""
        self.decisions.append(Decision(opened.part.path, -1, opened.part.content_type, ""))
        if not self.switches.clicks:
            return []
        found: list[Edit] = []
        if opened.is_text:
            for link in text_links(opened.data):
                self.text_edit(opened, link, found)
            return found
        for anchor, reason in opened.anchors:
            value = opened.data[anchor.start : anchor.end]
            rule = reason or (f"excluded-by-{anchor.excluded}" if anchor.excluded else "")
            self.edit(opened, anchor.start, anchor.end, value, rule, found)
            if not reason:
                found += [Edit(REMOVE, at, end, 0, b"", b"") for at, end in anchor.removals]
        if any(edit.kind == REMOVE for edit in found):
            found.sort(key=lambda edit: edit.start)
        return found

    def text_edit(self, opened: Html, link: TextLink, found: list[Edit]) -> None:
        rule = "excluded-by-sparkpost" if link.excluded else ""
        value = opened.data[link.start : link.end]
        self.edit(opened, link.start, link.end, value, rule, found)
        if link.mark_end > link.end:
            found.append(Edit(REMOVE, link.end, link.mark_end, 0, b"", b""))

    def edit(
        self, opened: Html, start: int, end: int, value: bytes, rule: str, found: list[Edit]
    ) -> None:
        """Decide about one link and add its edit if it is rewritten."""
        plain = _without_references(value) if not opened.is_text else value
        host = None if plain is None else usual_host(plain)
        if plain is not None and host is not None and host not in self.own_hosts:
            url, destination = plain.decode("ascii"), plain
            if not rule and url in self.unsubscribe:
                rule = "list-unsubscribe"
        else:
            url, rule, destination = self.unusual(opened, start, end, rule)
        if not rule:
            tail = encoded_tail(destination)
            if self.room < len(tail):
                rule = "too-long"
            else:
                found.append(Edit(CLICK, start, end, len(self.links), self.click, tail))
                self.links.append(destination)
        self.decisions.append(Decision(opened.part.path, start, url, rule))

    def unusual(self, opened: Html, start: int, end: int, rule: str) -> tuple[str, str, bytes]:
        """Apply all rules about URLs; gives the URL, the rule, and the destination field."""
        text = opened.text(start, end)
        if text is None:
            opened.invalid = True
            text = ""
        verdict = judge(text, self.own_hosts, self.unsubscribe)
        if verdict.reason == "own-host" and _is_click(verdict.url):
            self.own_links = True
        rule = rule or verdict.reason
        destination = None if rule else field(verdict.url, opened.charset.codec)
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


__all__ = ["Budget", "Decision", "PartEdit", "Plan", "Switches", "compile_plan"]

"""The tracking plan of a message: what is replaced in every copy of it, decided once.

`compile_plan` reads a message when it is accepted and decides for each part and each link. A
plan is small, stored with the message, and filled in per recipient by `render.py`.

Guarantees: a plan changes href values of anchors, removes vendors' marks from them, and inserts one
pixel; everything else of the message stays the same bytes (base64 parts: the same decoded bytes). A
message into which nothing of ours goes stays as it is, marks included. What cannot be done safely
is left, with a reason: for the whole message (`skipped`), a part, or a link. Time is linear and
every count is bounded. No input raises.
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

from collections.abc import Iterable, Iterator
from functools import lru_cache
from urllib.parse import urlsplit

import msgspec

from relay.mail.mime import Part, Tree, walk
from tracking.fields import encoding_field, unsubscribe_urls
from tracking.parts import Left, candidates
from tracking.reading import Reading, Rules, Switches, read_part, shifted
from tracking.readings import Readings
from tracking.splice import Hole

MAX_LINKS = 1000
MAX_HTML = 2 * 1024 * 1024
MAX_URL = 2048


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
    Offsets count in the message, or with a `size` in the one part of so many octets that is changed
    (`packed.py`): such a plan is the same wherever the part stands.
    """

    skipped: str
    host: str
    links: list[bytes] = []
    holes: list[Hole] = []
    parts: list[PartEdit] = []
    decisions: list[Decision] = []
    has_pixel: bool = False
    size: int = 0


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
    known: Readings | None = None,
) -> Plan:
    """Decide what is replaced in a message.

    `base_url` is the scheme and tracking host of its links ("https://t.shop.test"), `own_hosts`
    all tracking hosts of the installation in lower case. `rewrite_signed` also changes messages
    with a DKIM or ARC signature, which then no longer verifies. `known` spares reading a part that
    an earlier message had; the plan is the same without. Raises ValueError for a base URL
    without scheme and host, nothing for any message.
    """
    compiler = prepare(message, switches, base_url, own_hosts, known, budget or Budget())
    refusal = compiler.refusal(rewrite_signed=rewrite_signed)
    return Plan(refusal, compiler.host) if refusal else compiler.compile()


def prepare(
    message: bytes,
    switches: Switches,
    base_url: str,
    own_hosts: frozenset[str],
    known: Readings | None,
    limits: Budget,
) -> "Compiler":
    """Get ready to compile; arguments and errors are those of `compile_plan`."""
    host = _host(base_url)
    tree = walk(message, max_depth=limits.depth, max_parts=limits.parts)
    rules = Rules(
        switches,
        base_url,
        own_hosts if host in own_hosts else own_hosts | {host},  # one set for all mails
        unsubscribe_urls(tree.root),
        limits.html,
        limits.url,
    )
    return Compiler(message, tree, rules, limits, known, host)


@lru_cache(maxsize=100)
def _host(base_url: str) -> str:
    host = (urlsplit(base_url).hostname or "").lower()
    web = base_url.startswith(("http://", "https://")) and base_url.isascii()
    if not host or not web or base_url.endswith("/"):
        raise ValueError(f"base URL {base_url!r}: expected scheme and host, like https://t.test")
    return host


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
    if not rewrite_signed and not _SIGNATURES.isdisjoint(root.header.names):
        return "signed"
    return ""


_UNREADABLE = {"no-blank-line-after-header", "space-before-colon"}
_SIGNATURES = frozenset(
    [b"dkim-signature", b"arc-message-signature", b"arc-seal", b"domainkey-signature"]
)


class Compiler:
    """The compilation of one message: its parts' readings put where they stand in it."""

    def __init__(
        self,
        message: bytes,
        tree: Tree,
        rules: Rules,
        budget: Budget,
        known: Readings | None,
        host: str,
    ) -> None:
        """Take what `prepare` found out."""
        self.message = message
        self.tree = tree
        self.rules = rules
        self.max_links = budget.links
        self.known = known
        self.host = host
        self.links: list[bytes] = []
        self.decisions: list[Decision] = []
        self.reason = ""

    def refusal(self, *, rewrite_signed: bool) -> str:
        """Give the reason to leave the whole message before looking into its parts, or ""."""
        switches = self.rules.switches
        if not (switches.opens or switches.clicks):
            return "switched-off"
        return _refusal(self.message, self.tree, rewrite_signed=rewrite_signed)

    def candidates(self) -> Iterator[Left]:
        """Give the parts that may be changed, and those that look so with the reason why not."""
        return candidates(self.tree, plain_text=self.rules.switches.plain_text)

    def compile(self) -> Plan:
        """Read the parts and give the plan; once."""
        return self._compile((part, why or self.read(part)) for part, why in self.candidates())

    def compile_only(self, part: Part, reading: Reading) -> Plan:
        """Give the plan of a message in which this part alone may be changed; once."""
        return self._compile([(part, reading)])

    def _compile(self, readings: Iterable[tuple[Part, Reading | str]]) -> Plan:
        host = self.host
        ready: list[tuple[Part, Reading]] = []
        seen = links = 0
        own_links = False
        for part, reading in readings:
            if isinstance(reading, str):
                self.leave(part, reading)
                continue
            seen += reading.anchors
            if seen > self.max_links:
                return Plan("too-many-links", host)
            path, rule = part.path, "charset-invalid" if reading.invalid else ""
            # All links of a part or none, for figures of some would lie.
            self.decisions += [
                Decision(path, offset, url, why or rule) for offset, url, why in reading.decisions
            ]
            links += len(reading.links)
            own_links = own_links or reading.own_links
            if reading.invalid:
                self.reason = self.reason or rule
                continue
            if own_links or reading.own_pixel:
                return Plan("already-tracked", host)
            if links > self.max_links:  # in plain text
                return Plan("too-many-links", host)
            ready.append((part, reading))
        return self.plan(host, ready)

    def read(self, part: Part) -> Reading | str:
        """Read a part, or take what is known of another with the same bytes."""
        body = self.message[part.body_start : part.end]
        if self.known is None:
            return read_part(body, part, self.rules)
        reading = self.known.get(body, part, self.rules)
        if reading is not None:
            return reading
        found = read_part(body, part, self.rules)
        if isinstance(found, Reading):
            self.known.keep(body, part, self.rules, found)
        return found

    def plan(self, host: str, ready: list[tuple[Part, Reading]]) -> Plan:
        plan_holes: list[Hole] = []
        parts: list[PartEdit] = []
        opens = wants_pixel = self.rules.switches.opens
        for part, reading in ready:
            # The first part is the one that people are shown; many clients list others as files.
            pixel = wants_pixel and reading.place >= 0
            wants_pixel = wants_pixel and not pixel
            placed = reading.placed(pixel=pixel)
            base = len(self.links)
            self.links += reading.links
            if not placed.holes:
                continue
            if placed.width < 0:
                plan_holes += shifted(placed.holes, part.body_start, base)
                continue
            field_start, field_end = (0, 0) if placed.width else encoding_field(part)
            found = shifted(placed.holes, 0, base)
            edit = PartEdit(part.body_start, part.end, placed.width, found, field_start, field_end)
            parts.append(edit)
        has_pixel = opens and not wants_pixel
        if self.links or has_pixel:
            return Plan("", host, self.links, plan_holes, parts, self.decisions, has_pixel)
        # Marks alone are not taken out: whoever hands the mail in again would find them gone.
        skipped = self.reason or ("nothing-to-track" if ready else "no-html")
        return Plan(skipped, host, decisions=self.decisions)

    def leave(self, part: Part, reason: str) -> None:
        self.reason = self.reason or reason
        self.decisions.append(Decision(part.path, -1, part.content_type, reason))


__all__ = ["Budget", "Decision", "PartEdit", "Plan", "Readings", "Switches", "compile_plan"]

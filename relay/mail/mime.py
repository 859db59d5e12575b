"""The tree of a message's parts, with byte offsets and nothing decoded.

Guarantees: any bytes can be read, nothing raises or recurses, time is linear in the size, and
depth and number of parts are bounded. What two readers could understand differently (a header
field given twice, a boundary that never occurs or is never closed) is recorded as a defect of
the part: tracking leaves such parts alone, the reader of bounces takes them as they are.
Leaves to others: transfer encodings (`transfer.py`) and charsets (`charset.py`).

RFC 2046 section 5.1: a delimiter is a whole line, "--" and the boundary, padded with white space;
of two open multiparts the outer one's delimiter wins; what follows the closing one is epilogue.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from relay.mail.header import Header, parameters, split, strip_comments, unfold

MAX_DEPTH = 64
MAX_PARTS = 1000
MAX_BOUNDARY = 2048

_DELIMITER = re.compile(rb"(?:\A|(?<=\n))--([^\r\n]*+)(?:\r?\n|\r|\Z)")
_IDENTITY = frozenset({"", "7bit", "8bit", "binary"})
_MESSAGES = frozenset({"message/rfc822", "message/global"})
_ONCE = {
    b"content-type": "duplicate-content-type",
    b"content-transfer-encoding": "duplicate-content-transfer-encoding",
    b"content-disposition": "duplicate-content-disposition",
    b"mime-version": "duplicate-mime-version",
}


@dataclass(slots=True, kw_only=True)
class Part:
    """One part: `message[start:body_start]` is its header, `message[body_start:end]` its body.

    `path` counts from 1 ("2.1" is the first part of the second; the root is "0"; ".m" is the
    message inside a message part). Types, encoding, disposition and charset are in lower case,
    "" where the part does not say; `filename` is what either header field calls the part.
    """

    path: str
    header: Header
    start: int
    body_start: int
    end: int
    content_type: str
    parameters: dict[bytes, bytes]
    encoding: str
    disposition: str
    filename: bytes
    charset: str
    parent: "Part | None"
    depth: int
    children: list["Part"] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)

    def ancestors(self) -> Iterator["Part"]:
        """Give the parts around this one, the nearest first."""
        above = self.parent
        while above is not None:
            yield above
            above = above.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """All parts in the order of the message; `defects` says where the walk stopped early.

    Defects of the tree: "too-deep", "too-many-parts". The parts found until then are right.
    """

    parts: tuple[Part, ...]
    defects: tuple[str, ...] = ()

    @property
    def root(self) -> Part:
        """The message itself."""
        return self.parts[0]

    def leaves(self) -> Iterator[Part]:
        """Give the parts without children in the order of the message."""
        return (part for part in self.parts if not part.children)


def walk(
    message: bytes,
    *,
    max_depth: int = MAX_DEPTH,
    max_parts: int = MAX_PARTS,
    into_messages: bool = False,
) -> Tree:
    """Find the parts of a message; with `into_messages` also those of messages inside it."""
    walker = _Walker(message, max_depth, max_parts, into_messages=into_messages)
    walker.run()
    return Tree(parts=tuple(walker.parts), defects=tuple(walker.defects))


class _Walker:
    """One pass over the delimiter lines, with the chain of parts that are open at the moment."""

    def __init__(
        self, message: bytes, max_depth: int, max_parts: int, *, into_messages: bool
    ) -> None:
        self.message = message
        self.max_depth = max_depth
        self.max_parts = max_parts
        self.into_messages = into_messages
        self.parts: list[Part] = []
        self.defects: list[str] = []
        self.chain: list[tuple[Part, bytes | None]] = []
        self.open: dict[bytes, int] = {}  # boundary -> place in the chain of the outermost user

    def run(self) -> None:
        if not self.begin(0, len(self.message), None, "0") or not self.open:
            return
        at = self.chain[-1][0].body_start
        while self.open:
            found = self.next_delimiter(at)
            if found is None:
                break
            match, place, closing = found
            self.leave(match.start(), place)
            if closing:
                multipart, boundary = self.chain.pop()
                multipart.end = len(self.message)  # of the epilogue, until an outer delimiter
                self.chain.append((multipart, None))
                if boundary is not None:
                    del self.open[boundary]
                at = match.end()
                continue
            multipart = self.chain[place][0]
            number = str(len(multipart.children) + 1)
            path = number if multipart.path == "0" else f"{multipart.path}.{number}"
            if not self.begin(match.end(), len(self.message), multipart, path):
                return
            at = max(match.end(), self.chain[-1][0].body_start)
        for part, boundary in self.chain:
            if boundary is not None:
                self.unclosed(part)

    def next_delimiter(self, at: int) -> tuple[re.Match[bytes], int, bool] | None:
        """Find the next line that delimits an open multipart: match, whose, whether it closes."""
        for match in _DELIMITER.finditer(self.message, at):
            text = match[1].rstrip(b" \t")
            place = self.open.get(text)
            closed = self.open.get(text[:-2]) if text.endswith(b"--") else None
            if closed is not None and (place is None or closed < place):
                return match, closed, True
            if place is not None:
                return match, place, False
        return None

    def leave(self, delimiter: int, place: int) -> None:
        """End all parts deeper than the chain's `place` before the delimiter line."""
        end = delimiter
        if self.message.endswith(b"\r\n", 0, delimiter):
            end -= 2  # the line end belongs to the delimiter (RFC 2046 5.1.1)
        elif self.message.endswith(b"\n", 0, delimiter):
            end -= 1
        while len(self.chain) > place + 1:
            part, boundary = self.chain.pop()
            part.end = max(part.start, end)
            if part.body_start > part.end:
                part.body_start = part.end
            if boundary is not None:
                self.unclosed(part)
                if self.open.get(boundary) == len(self.chain):
                    del self.open[boundary]

    @staticmethod
    def unclosed(part: Part) -> None:
        part.defects.append("no-closing-boundary" if part.children else "boundary-never-occurs")

    def begin(self, start: int, stop: int, parent: Part | None, path: str) -> bool:
        """Open the part that starts here (and a message inside it); False when a limit is hit."""
        while True:
            if len(self.parts) >= self.max_parts:
                self.defects.append("too-many-parts")
                return False
            if len(self.chain) > self.max_depth:
                self.defects.append("too-deep")
                return False
            part = self.read(start, stop, parent, path)
            self.parts.append(part)
            if parent is not None:
                parent.children.append(part)
            boundary = self.boundary(part) if part.content_type.startswith("multipart/") else None
            if boundary is not None:
                self.open.setdefault(boundary, len(self.chain))
            self.chain.append((part, boundary))
            if not self.into_messages or part.content_type not in _MESSAGES:
                return True
            if part.encoding not in _IDENTITY:
                return True
            start, parent, path = part.body_start, part, f"{part.path}.m"

    def boundary(self, part: Part) -> bytes | None:
        """Give the boundary of a multipart that can be looked for."""
        text = part.parameters.get(b"boundary", b"").rstrip()
        if not text:
            part.defects.append("multipart-without-boundary")
            return None
        if len(text) > MAX_BOUNDARY or b"\n" in text or b"\r" in text:
            part.defects.append("boundary-too-long")
            return None
        if len(text) > 70:
            part.defects.append("boundary-over-70")
        if text in self.open:
            part.defects.append("boundary-never-occurs")  # the outer multipart takes every line
            return None
        return text

    def read(self, start: int, stop: int, parent: Part | None, path: str) -> Part:
        """Read the header of the part at `start`; its end is the message's until one is found."""
        message = self.message
        if any(b":" in boundary for boundary in self.open):
            # Only then could a delimiter line pass for a header field.
            ahead = self.next_delimiter(start)
            stop = ahead[0].start() if ahead else stop
        header = split(message, start, stop)
        default = "text/plain"
        if parent is not None and parent.content_type == "multipart/digest":
            default = "message/rfc822"
        part = Part(
            path=path,
            header=header,
            start=start,
            body_start=header.body_start,
            end=len(message),
            content_type=default,
            parameters={},
            encoding="",
            disposition="",
            filename=b"",
            charset="",
            parent=parent,
            depth=len(self.chain),
        )
        _describe(part)
        return part


def _describe(part: Part) -> None:
    """Read the fields that say what the part is."""
    if "bad-line" in part.header.defects:
        part.defects.append("no-blank-line-after-header")
    if "space-before-colon" in part.header.defects:
        part.defects.append("space-before-colon")
    seen: set[bytes] = set()
    for each, name in zip(part.header.fields, part.header.names, strict=True):
        defect = _ONCE.get(name)
        if defect is None:
            continue
        if name in seen:
            part.defects.append(defect)
            continue
        seen.add(name)
        if name == b"content-type":
            _describe_type(part, each.value)
        elif name == b"content-transfer-encoding":
            value = unfold(each.value)
            part.encoding = strip_comments(value).strip().lower().decode("latin-1")
        elif name == b"content-disposition":
            main, found = parameters(each.value)
            part.disposition = main.decode("latin-1")
            part.filename = found.get(b"filename", part.filename)
    if b"mime-version" not in seen and part.parent is None:
        part.defects.append("no-mime-version")


def _describe_type(part: Part, value: bytes) -> None:
    main, found = parameters(value)
    text = main.decode("latin-1")
    # RFC 2045 5.2: what cannot be read as type/subtype is taken as text/plain
    if text.count("/") == 1:
        part.content_type = text
    else:
        part.content_type = "text/plain"
        part.defects.append("bad-content-type")
    part.parameters = found
    part.charset = found.get(b"charset", b"").strip().strip(b"\"'").lower().decode("latin-1")
    part.filename = part.filename or found.get(b"name", b"")
    twice = found.get(b"!twice", b"").split()
    if b"boundary" in twice:
        part.defects.append("duplicate-boundary")
    if b"charset" in twice:
        part.defects.append("duplicate-charset")

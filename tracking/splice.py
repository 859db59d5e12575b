"""Where new bytes go in the raw part, so that its transfer encoding and lines stay valid.

Guarantees: a hole covers exactly the raw bytes of the replaced value (nothing for the pixel, which
is an insertion); what is put in keeps quoted-printable lines within 76 characters, with soft
breaks only inside the hole (RFC 2045 6.7), and the lines of 7bit and 8bit parts within 998
octets (RFC 5322 2.1.1), or says that it cannot. Both hold as well for links without pixel and
for the pixel without links, since either may be taken back at departure.
Leaves to others: what is replaced and why (`plan.py`), and the filling in (`render.py`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from relay.mail.transfer import Decoded, Span
from tracking.tokens import HEAD_SIZE

MAX_LINE = 998
QP_LINE = 76
_SOFT = b"=\r\n"

REMOVE, CLICK, PIXEL = 0, 1, 2


class Hole(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One replaced range: `before`, the token's head and `after` stand for bytes start to end.

    Offsets count in the message, for base64 parts in the decoded part. `link` is the link index
    of a click; a hole that only removes has no head, and at most a break in `before`.
    """

    kind: int
    start: int
    end: int
    link: int
    before: bytes
    after: bytes


class Edit(NamedTuple):
    """A wanted replacement in the decoded part, before its place in the raw bytes is known."""

    kind: int
    start: int
    end: int
    link: int
    before: bytes
    after: bytes


def holes(decoded: Decoded, edits: Sequence[Edit], offset: int) -> list[Hole]:
    """Give the holes of a part whose raw bytes begin at `offset` of the message.

    `edits` stand in rising order without overlap, and `lines_fit` holds for 7bit and 8bit parts.
    """
    if decoded.encoding == "quoted-printable":
        return _quoted_printable(decoded, edits, offset)
    return [
        Hole(kind, start + offset, end + offset, link, before, after)
        for kind, start, end, link, before, after in edits
    ]


def _size(edit: Edit) -> int:
    return 0 if edit.kind == REMOVE else len(edit.before) + HEAD_SIZE + len(edit.after)


def lines_fit(raw: bytes, edits: Sequence[Edit]) -> bool:
    """Say whether every changed line of a 7bit or 8bit part stays within 998 octets.

    That must hold with links and pixel, and with either of them taken back. Without the pixel lines
    only become shorter; without the links they may become longer, for an href may be written in
    character references.
    """
    if _longest(raw, edits) > MAX_LINE:
        return False
    pixels = [edit for edit in edits if edit.kind == PIXEL]
    return not pixels or _longest(raw, pixels) <= MAX_LINE


def _longest(raw: bytes, edits: Sequence[Edit]) -> int:
    longest = length = 0
    end = -1
    for edit in edits:
        if end >= 0 and raw.find(b"\n", end, edit.start) < 0:
            length += edit.start - end + _size(edit)
        else:
            if end >= 0:
                longest = max(longest, length + _rest(raw, end))
            length = edit.start - (raw.rfind(b"\n", 0, edit.start) + 1) + _size(edit)
        end = edit.end
    return max(longest, length + _rest(raw, end)) if end >= 0 else 0


def _rest(raw: bytes, at: int) -> int:
    """Give how many octets follow on this line."""
    end = raw.find(b"\r\n", at)
    return (len(raw) if end < 0 else end) - at


# ------------------------------------------------------------------------- quoted-printable


def _quoted_printable(decoded: Decoded, edits: Sequence[Edit], offset: int) -> list[Hole]:
    raw = decoded.raw
    spans = [decoded.raw_span(edit.start, edit.end) for edit in edits]
    placed: list[Hole] = []
    column = 0  # behind the last replaced link, on the line as it will be
    end = line_end = -1  # raw offsets: behind the last replaced link, and of its line's end
    for number, edit in enumerate(edits):
        start, stop = spans[number]
        if edit.kind == PIXEL:
            before, after = _pixel(edit, raw, start)
            placed.append(Hole(PIXEL, start + offset, stop + offset, 0, before, after))
            continue
        if start < line_end:
            column += start - end
        else:
            column = start - (raw.rfind(b"\n", 0, start) + 1)
        end = stop
        line_end = raw.find(b"\r\n", stop)
        if line_end < 0:
            line_end = len(raw)
        if edit.kind == REMOVE:
            # A mark over a line's end: without a break of its own two lines would become one.
            # Behind a full line there is no room for "=", and the line end before the mark stays.
            broken = raw.find(b"\n", start, stop) >= 0
            before = (_SOFT if column < QP_LINE else b"\r\n") if broken else b""
            column = 0 if broken else column
            placed.append(Hole(REMOVE, start + offset, stop + offset, 0, before, b""))
            continue
        rest = _to_next(raw, line_end - stop, stop, edits, spans, number + 1)
        before, after, column = _laid_out(edit, column, rest)
        placed.append(Hole(CLICK, start + offset, stop + offset, edit.link, before, after))
    return placed


def _to_next(
    raw: bytes, rest: int, stop: int, edits: Sequence[Edit], spans: Sequence[Span], later: int
) -> int:
    """Give how much stays on the line behind `stop`, up to the next link or break."""
    removed = 0
    while later < len(edits) and spans[later].start - stop < rest:
        start, end = spans[later]
        kind = edits[later].kind
        later += 1
        if kind == PIXEL:
            continue
        if kind == CLICK or raw.find(b"\n", start, end) >= 0:
            return start - stop - removed
        removed += end - start
    return rest - removed


def _laid_out(edit: Edit, column: int, rest: int) -> tuple[bytes, bytes, int]:
    """Break a link's bytes into lines that leave room for the rest of the last one.

    The head never breaks, since its bytes differ between recipients; it begins a line, as the
    address before it fills none.
    """
    before, after = edit.before, edit.after
    whole = column + len(before) + HEAD_SIZE + len(after)
    if whole + rest < QP_LINE:
        return before, after, whole
    if column + len(before) < QP_LINE:
        before += _SOFT
    else:
        before = _wrapped(before, column)[0] + _SOFT
    room = QP_LINE - 1 - HEAD_SIZE
    column = HEAD_SIZE + len(after)
    if len(after) > room:
        lines = [after[:room]]
        lines += [after[at : at + QP_LINE - 1] for at in range(room, len(after), QP_LINE - 1)]
        column = len(lines[-1])
        after = _SOFT.join(lines)
    if column + rest >= QP_LINE:
        return before, after + _SOFT, 0
    return before, after, column


def _wrapped(text: bytes, column: int) -> tuple[bytes, int]:
    """Break text so that no line has more than 75 characters and the break's "="."""
    if column + len(text) < QP_LINE:
        return text, column + len(text)
    lines: list[bytes] = []
    at = 0
    room = max(0, QP_LINE - 1 - column)
    while len(text) - at > room:
        cut = at + room
        escape = text.rfind(b"=", max(at, cut - 2), cut)
        if escape >= 0:
            cut = escape  # an escape stays in one piece
        lines.append(text[at:cut])
        at = cut
        room = QP_LINE - 1
    lines.append(text[at:])
    return _SOFT.join(lines), len(text) - at


def _pixel(edit: Edit, raw: bytes, at: int) -> tuple[bytes, bytes]:
    """Give the pixel lines of its own, so that it fits with the links changed or not."""
    # A full line has no room for the "=": a line end of the pixel's own comes first.
    full = at - (raw.rfind(b"\n", 0, at) + 1) >= QP_LINE and _rest(raw, at) == 0
    before, column = _wrapped(edit.before.replace(b"=", b"=3D"), 0)
    if column + HEAD_SIZE >= QP_LINE:
        before += _SOFT
        column = 0
    after, _ = _wrapped(edit.after.replace(b"=", b"=3D"), column + HEAD_SIZE)
    return (b"\r\n" if full else _SOFT) + before, after + (b"" if at == len(raw) else _SOFT)

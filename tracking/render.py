"""A message for one recipient: the plan's holes filled with this delivery's tokens.

Guarantees: with both switches on every hole is filled; a switch that is off at departure gives
its holes their original bytes back, so tracking can only become less than the plan. The bytes
joined are the message again, changed nowhere else; parts that must be encoded anew (base64, and
text whose lines would become too long) decode to the same bytes outside the holes.
Leaves to others: headers, signing, and whether tracking is still allowed.
"""

import binascii
from collections.abc import Iterable
from typing import NamedTuple

from relay.mail.transfer import decode_base64, encode_base64
from tracking.plan import PartEdit, Plan
from tracking.splice import CLICK, PIXEL, REMOVE, Hole
from tracking.tokens import Identity, Kind, Mint


class HostMismatchError(ValueError):
    """The mint makes tokens for another host than the plan's URLs name."""


def render(
    message: bytes,
    plan: Plan,
    mint: Mint | None,
    identity: Identity,
    *,
    opens: bool,
    clicks: bool,
    at: int = 0,
) -> list[bytes]:
    """Give the pieces of the message for this delivery; the caller joins them.

    `at` is where the plan's part begins, of a plan with a size. Without a mint, with both switches
    off, where nothing of ours would go into it, or under a plan that skips, that is the message
    itself. Raises HostMismatchError if the mint's host is
    not the plan's.
    """
    if mint is None or plan.skipped or not (opens or clicks):
        return [message]
    if mint.host != plan.host:
        raise HostMismatchError(f"tokens for {mint.host!r}, URLs for {plan.host!r}")
    heads: list[bytes] = []
    if clicks:
        heads = mint.heads(Kind.CLICK, identity, list(enumerate(plan.links)))
    pixel = b""
    if opens and plan.has_pixel:
        pixel = mint.heads(Kind.OPEN, identity, ((0, b""),))[0]
    if not (heads or pixel):
        return [message]
    if plan.size:
        part = message[at : at + plan.size]
        return [message[:at], *_pieces(part, plan, heads, pixel), message[at + plan.size :]]
    return _pieces(message, plan, heads, pixel)


class Cut(NamedTuple):
    """The changed bytes of a plan's part, cut where the heads of tokens go: one piece more than
    heads. `links` are the places' link indices, -1 for the pixel's.
    """

    pieces: list[bytes]
    links: list[int]


def cut(part: bytes, plan: Plan, *, opens: bool, clicks: bool) -> Cut | None:
    """Cut a part, the same bytes for every recipient; None where no head can be put in as it is.

    That is so in what is encoded anew, and where nothing of ours goes in.
    """
    wanted = {CLICK: clicks, PIXEL: opens and plan.has_pixel, REMOVE: True}
    if plan.parts or not any(wanted[hole.kind] for hole in plan.holes if hole.kind != REMOVE):
        return None
    pieces: list[bytes] = []
    links: list[int] = []
    before = b""
    at = 0
    for hole in plan.holes:
        if not wanted[hole.kind]:
            continue
        before += part[at : hole.start] + hole.before
        at = hole.end
        if hole.kind != REMOVE:
            pieces.append(before)
            links.append(hole.link if hole.kind == CLICK else -1)
            before = hole.after
    pieces.append(before + part[at:])
    return Cut(pieces, links)


def _pieces(message: bytes, plan: Plan, heads: list[bytes], pixel: bytes) -> list[bytes]:
    if not plan.parts:
        return _filled(message, plan.holes, 0, len(message), heads, pixel)
    pieces: list[bytes] = []
    at = 0
    holes = list(plan.holes)
    for part in plan.parts:
        before = [hole for hole in holes if hole.start < part.start]
        holes = holes[len(before) :]
        body = message[part.start : part.end]
        changed = _encoded(body, part, heads, pixel)
        if changed is not None and not part.width:
            pieces += _filled(message, before, at, part.field_start, heads, pixel)
            pieces += (_QUOTED, message[part.field_end : part.start], changed)
        else:
            pieces += _filled(message, before, at, part.start, heads, pixel)
            pieces.append(body if changed is None else changed)
        at = part.end
    pieces += _filled(message, holes, at, len(message), heads, pixel)
    return pieces


_QUOTED = b"Content-Transfer-Encoding: quoted-printable\r\n"


def _filled(
    data: bytes, holes: Iterable[Hole], at: int, stop: int, heads: list[bytes], pixel: bytes
) -> list[bytes]:
    """Give data[at:stop] in pieces, with the holes filled for which there is a head."""
    pieces: list[bytes] = []
    for hole in holes:
        kind = hole.kind
        if kind == CLICK:
            if not heads:
                continue
            pieces += (data[at : hole.start], hole.before, heads[hole.link], hole.after)
        elif kind == PIXEL:
            if not pixel:
                continue
            pieces += (data[at : hole.start], hole.before, pixel, hole.after)
        elif kind == REMOVE and heads is not None:
            pieces += (data[at : hole.start], hole.before)
        at = hole.end
    pieces.append(data[at:stop])
    return pieces


def _encoded(raw: bytes, part: PartEdit, heads: list[bytes], pixel: bytes) -> bytes | None:
    """Give a part's body encoded anew, None if none of its holes is filled."""
    data = decode_base64(raw)[0] if part.width else raw
    filled = _filled(data, part.holes, 0, len(data), heads, pixel)
    if len(filled) == 1:
        return None
    whole = b"".join(filled)
    if not part.width:
        return quoted_printable(whole)
    # line ends around the data stay as they are
    lead = raw[: len(raw) - len(raw.lstrip(b"\r\n"))]
    end = raw[len(raw.rstrip(b"\r\n")) :]
    return lead + encode_base64(whole, part.width) + end


def quoted_printable(text: bytes) -> bytes:
    """Encode text whose lines end with CRLF."""
    encoded = binascii.b2a_qp(text, istext=True)
    # without any CRLF to go by the encoder breaks lines with LF
    return encoded if b"\r\n" in text else encoded.replace(b"=\n", b"=\r\n")

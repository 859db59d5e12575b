"""The part that all mails of a campaign have in common, made ready once for every recipient.

Guarantees: what a template gives is what `tracking.render`, `relaxed_body` and `check_content`
would make of the mail, byte for byte, for a mail that has the very same part and plan. Everything
that depends on no recipient is done once: the bytes between the tokens' heads, their relaxed form,
the hash of what is before the first head, and the look for bare line ends and leading dots. What
stands in the heads changes none of it, for they are 60 letters, digits, "-" and "_".
Leaves to others: which mails share a template (`templates.py`).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from itertools import chain

from relay.delivery.canonical import relaxed_runs
from relay.mail.lines import is_crlf_clean
from tracking.kept import held
from tracking.plan import Plan
from tracking.render import Cut, cut
from tracking.tokens import HEAD_SIZE, Identity, Kind, Mint, link_fields

_ANY_HEAD = secrets.token_hex(HEAD_SIZE // 2).encode()  # stands for each while nobody's is known


class Template:
    """One part, for one plan and one pair of switches, or without a plan."""

    __slots__ = ("_fields", "_first", "_last", "_pixel", "_relaxed", "body", "pieces")

    def __init__(self, body: bytes, made: Cut, relaxed: list[bytes], plan: Plan | None) -> None:
        """Take the part as it was accepted, what goes out of it, and that in relaxed form."""
        self.body = body
        self.pieces = made.pieces
        self._relaxed = relaxed
        self._first = hashlib.sha256(relaxed[0])
        self._last = _ended(relaxed[-1])
        self._pixel = made.links.index(-1) if -1 in made.links else -1
        order = [link for link in made.links if link >= 0]
        self._fields = link_fields([(link, plan.links[link]) for link in order]) if plan else []

    def octets(self) -> int:
        """Count the octets of memory that it holds."""
        lists = (self.pieces, self._relaxed, self._fields)
        return held((self, self.body, self._last, *lists, *chain.from_iterable(lists)))

    def heads(self, mint: Mint, identity: Identity) -> list[bytes]:
        """Make the heads for one delivery, in the order of their places."""
        made = mint.heads_of(Kind.CLICK, identity, self._fields) if self._fields else []
        if self._pixel >= 0:
            made.insert(self._pixel, mint.heads(Kind.OPEN, identity, ((0, b""),))[0])
        return made

    def filled(self, heads: Sequence[bytes]) -> list[bytes]:
        """Give the part's bytes for one delivery, in pieces."""
        return _woven(self.pieces, heads)

    def body_hash(self, heads: Sequence[bytes], before: bytes, behind: bytes) -> bytes | None:
        """Give the SHA-256 of the relaxed body of the mail that has this part between `before` (all
        of its body up to here) and `behind`; None where that cannot be told from the part.
        """
        relaxed = self._relaxed
        last = _ended(relaxed[-1] + relaxed_runs(behind)) if behind else self._last
        if not heads:
            if not last:  # empty lines at the end reach into what is before
                return None
            return hashlib.sha256(relaxed_runs(before) + last).digest()
        first = self._first
        hashed = hashlib.sha256(relaxed_runs(before) + relaxed[0]) if before else first.copy()
        hashed.update(b"".join(_woven([b"", *relaxed[1:-1], last or b"\r\n"], heads)))
        return hashed.digest()


def make(body: bytes, plan: Plan | None, *, opens: bool, clicks: bool) -> Template | None:
    """Make the template of a part; without a plan it goes out as it is. None where the part cannot
    be looked at by itself, or is not clean: a line end that is not CRLF, a line with a leading dot.
    """
    made = cut(body, plan, opens=opens, clicks=clicks) if plan else Cut([body], [])
    if made is None:
        return None
    whole = _ANY_HEAD.join(made.pieces)
    if not is_clean(whole):
        return None
    relaxed = relaxed_runs(whole)
    pieces = relaxed.split(_ANY_HEAD)
    if relaxed.endswith(b" ") or len(pieces) != len(made.pieces):
        return None
    return Template(body, made, pieces, plan)


def is_clean(lines: bytes) -> bool:
    """Say whether what begins with a line may go on the wire as it is (RFC 5321 sections 2.3.8 and
    4.5.2).
    """
    return is_crlf_clean(lines) and b"\r\n." not in lines and lines[:1] != b"."


def _ended(body: bytes) -> bytes:
    """End a relaxed body: no spaces and no empty lines at its end, one CRLF if anything is left."""
    body = body.rstrip(b" ").rstrip(b"\r\n")
    return body + b"\r\n" if body else b""


def _woven(pieces: Sequence[bytes], heads: Sequence[bytes]) -> list[bytes]:
    """Put a head between each piece and the next."""
    woven = [b""] * (len(pieces) + len(heads))
    woven[0::2] = pieces
    woven[1::2] = heads
    return woven

"""What goes out behind our header fields: the stored message, filled in for one recipient.

Guarantees: the bytes are those of `tracking.render`, or the stored ones where nothing is tracked;
the hash is that of their relaxed body (RFC 6376 section 3.4.4). Mails of a campaign get both from a
template. Leaves to others: what may still be tracked, and header fields (`depart.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relay.delivery.canonical import relaxed_body
from relay.departure.plans import Plans
from relay.departure.template import Template, is_clean
from relay.departure.templates import Templates
from relay.mail.keyring import KeyRing
from relay.message import Message
from tracking.render import render
from tracking.tokens import Identity, Mint

_EMPTY = b"\r\n\r\n"
_LINE = b"x\r\n"
_MAX_MINTS = 10_000


Sign = Callable[[bytes, bytes], bytes]
"""Gives signature fields for a header block and the hash of a body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A message for one recipient, in pieces; of a template's the first and the last are what is
    around it, and `start` is where the body begins in the first.
    """

    pieces: list[bytes]
    template: Template | None = None
    heads: Sequence[bytes] = ()
    start: int = 0

    def behind(self, added: bytes, sign: Sign | None) -> tuple[bytes, bool]:
        """Give the mail behind these fields of ours, signed, and whether it is known to be clean
        (see `Outgoing`).
        """
        if self.template is None:
            return self._whole(added, sign), False
        before, behind = self.pieces[0], self.pieces[-1]
        if sign is not None:
            hashed = self.template.body_hash(self.heads, before[self.start :], behind)
            if hashed is None:
                return self._whole(added, sign), False
            added = sign(added + before[: self.start - 2], hashed) + added
        clean = is_clean(added + before) and (not behind or is_clean(_LINE + behind))
        return b"".join((added, *self.pieces)), clean

    def _whole(self, added: bytes, sign: Sign | None) -> bytes:
        whole = b"".join((added, *self.pieces))
        if sign is None:
            return whole
        head, _, body = whole.partition(_EMPTY)
        return sign(head + b"\r\n", hashlib.sha256(relaxed_body(body)).digest()) + whole


class Mints:
    """Makers of tokens by tracking host."""

    def __init__(self, keyring: KeyRing) -> None:
        """Take the ring whose current key signs."""
        self._keyring = keyring
        self._mints: dict[str, Mint] = {}

    def of(self, host: str) -> Mint:
        """Give the maker of a host's tokens."""
        mint = self._mints.get(host)
        if mint is None or mint.key_id != self._keyring.current:
            if len(self._mints) >= _MAX_MINTS:
                self._mints.clear()
            mint = self._mints[host] = Mint(self._keyring, host)
        return mint


class Bodies:
    """Makes them for one worker."""

    def __init__(self, mints: Mints) -> None:
        """Take what makes tokens."""
        self._mints = mints
        self._plans = Plans()
        self._templates = Templates()

    def make(
        self,
        content: bytes,
        message: Message,
        identity: Identity,
        *,
        opens: bool,
        clicks: bool,
        signed: bool,
    ) -> Made:
        """Fill a stored message in for one recipient; `signed` says that it will be signed."""
        start = content.find(_EMPTY) + len(_EMPTY)
        if not (opens or clicks):
            if not signed or start < len(_EMPTY):
                return Made(pieces=[content])
            return self._untracked(content, start)
        plan = self._plans.get(message.plan)
        mint = self._mints.of(plan.host)
        at, size = message.plan_at, plan.size
        template = None
        if size and at >= start:
            template = self._templates.get(
                content, at, size, message.plan, plan, opens=opens, clicks=clicks
            )
        if template is None:
            return Made(
                pieces=render(content, plan, mint, identity, opens=opens, clicks=clicks, at=at)
            )
        heads = template.heads(mint, identity)
        pieces = [content[:at], *template.filled(heads), content[at + size :]]
        return Made(pieces=pieces, template=template, heads=heads, start=start)

    def _untracked(self, content: bytes, start: int) -> Made:
        size = len(content) - start
        template = self._templates.get(content, start, size, b"", None, opens=False, clicks=False)
        if template is None:
            return Made(pieces=[content])
        pieces = [content[:start], template.body, b""]
        return Made(pieces=pieces, template=template, start=start)

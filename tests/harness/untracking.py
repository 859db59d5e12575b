"""Undoes tracking in a delivered message, as a click would: every link of ours becomes the
destination that its signed token carries, written as HTML writes it, and the pixel goes.

Guarantees: a token that is not good on the tracking host stays where it is, so that the checker
finds the message damaged. For mails of `mails.py` only: 7-bit parts, one spelling of `&`.
"""

from __future__ import annotations

import html
import re
from pathlib import Path

from relay.mail.keyring import KeyRing
from tracking.tokens import BadTokenError, Kind, Token, read
from tracking.urls import destination

_KEYS = Path("keys") / "keyring.json"


class Untracking:
    """Called with a delivered message, gives what was submitted behind header fields of ours."""

    def __init__(self, data_dir: Path, host: str, port: int) -> None:
        """Take the keys of a node and its tracking host."""
        self._ring = KeyRing.load(data_dir / _KEYS)
        self._host = host
        at = rb"http://" + re.escape(f"{host}:{port}".encode())
        self._link = re.compile(at + rb"/c/([A-Za-z0-9_-]+)")
        self._pixel = re.compile(rb'<img src="' + at + rb'/o/([A-Za-z0-9_-]+)\.gif"[^>]*>')

    def __call__(self, body: bytes) -> bytes:
        """Undo it; List-Unsubscribe stays, being a header field."""
        header, gap, content = body.partition(b"\r\n\r\n")
        content = self._pixel.sub(self._without, content, count=1)
        return header + gap + self._link.sub(self._leads_to, content)

    def _without(self, found: re.Match[bytes]) -> bytes:
        token = self._token(found[1])
        return b"" if token is not None and token.kind is Kind.OPEN else found[0]

    def _leads_to(self, found: re.Match[bytes]) -> bytes:
        token = self._token(found[1])
        if token is None or token.kind is not Kind.CLICK:
            return found[0]
        return html.escape(destination(token.destination).url).encode()

    def _token(self, text: bytes) -> Token | None:
        try:
            return read(text.decode("ascii"), self._host, self._ring)
        except BadTokenError:
            return None

"""Rewriting without a server: one fixed key and host, for checkers outside and for the CLI.

Guarantees: `rewrite` runs the same plan and render as the relay, with opens and clicks on and
links inside Outlook's comments left; `unmap` and `is_pixel` read its tokens back.
Leaves to others: real keys. The fixed one is public, and its tokens are refused by every server.
"""

import re

from relay.mail.keyring import KeyRing
from tracking.plan import Switches, compile_plan
from tracking.render import render
from tracking.tokens import BadTokenError, Identity, Kind, Mint, Token, read
from tracking.urls import BadDestinationError, destination

BASE_URL = "https://t.waypost.test"
HOST = "t.waypost.test"
RING = KeyRing.of(b"waypost offline check, no secret")
IDENTITY = Identity(delivery=1, account=1, domain=1, campaign=0)

_URL = re.compile(r"https?://([^/?#]+)/([cou])/([A-Za-z0-9_-]+)(\.gif)?")
_MINT = Mint(RING, HOST)
_SWITCHES = Switches(opens=True, clicks=True, outlook=False)


def rewrite(message: bytes) -> bytes:
    """Give the message as it would leave for one recipient, signed messages included."""
    plan = compile_plan(message, _SWITCHES, base_url=BASE_URL, rewrite_signed=True)
    return b"".join(render(message, plan, _MINT, IDENTITY, opens=True, clicks=True))


def unmap(url: str) -> str | None:
    """Give the URL that a link of `rewrite` leads to, None for any other."""
    token = _token(url, "c")
    if token is None or token.kind is not Kind.CLICK:
        return None
    try:
        return destination(token.destination).url
    except BadDestinationError:
        return None


def is_pixel(url: str) -> bool:
    """Say whether a URL is the pixel of `rewrite`."""
    token = _token(url, "o")
    return token is not None and token.kind is Kind.OPEN


def _token(url: str, path: str) -> Token | None:
    match = _URL.fullmatch(url)
    if match is None or match[2] != path or bool(match[4]) != (path == "o"):
        return None
    try:
        return read(match[3], match[1], RING)
    except BadTokenError:
        return None

"""Tracking tokens: what a link or pixel carries, signed, with no need for a database.

Layout, before base64url without padding (RFC 4648 section 5); numbers are big-endian:

    2  version (4 bits, now 1) and key id (12 bits)     4  account
    1  kind                                             4  sending domain
    8  delivery                                         8  campaign hash
    2  link index                                      16  HMAC-SHA-256, truncated
    n  destination: the URL in UTF-8, behind one byte below 0x20 that names the query's charset
       (`urls.py`) where that is not UTF-8; nothing for opens and unsubscribes

The MAC covers everything else and the tracking host. The first 45 bytes are 60 characters, the
same number for every recipient, and the destination's characters are the same for all of them.

Guarantees: `read` checks the MAC first, in constant time, and raises BadTokenError alike for
every fault; a token has one spelling only; it is good on its own host only. No address of a
recipient is inside, in no form.
Leaves to others: block lists, consent, and recording of the hit.
"""

import binascii
import hashlib
import hmac
import re
import struct
from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache

import msgspec

from relay.mail.keyring import KeyRing
from relay.mail.mac import Signer

VERSION = 1
HEAD_SIZE = 60  # characters of a token that differ between recipients
MAC_SIZE = 16
MAX_TOKEN = 4096
LABEL = "waypost tracking token"

_FIXED = struct.Struct(">HBQIIQH")  # 29 bytes; with the MAC 45, which base64 makes 60
_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")
_ALPHABET = re.compile(r"[A-Za-z0-9_-]{60,4096}")


class BadTokenError(ValueError):
    """This text is no token of ours for this host; nothing more is said on purpose."""


class Kind(IntEnum):
    """What a token is for."""

    OPEN = 1
    CLICK = 2
    UNSUBSCRIBE = 3


class Identity(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Whose token it is.

    `delivery` and `campaign` are 64-bit numbers (`campaign_hash`), `account` and `domain` (the
    sending domain) 32-bit ones.
    """

    delivery: int
    account: int
    domain: int
    campaign: int


class Token(msgspec.Struct, frozen=True):
    """A verified token: `destination` is the field's raw bytes, see `urls.Destination`."""

    kind: Kind
    identity: Identity
    link: int
    destination: bytes
    key_id: int


def campaign_hash(account: int, name: str) -> int:
    """Give the 64-bit number of a campaign: the same for the same account and name, 0 for ""."""
    if not name:
        return 0
    text = account.to_bytes(8, "big") + name.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(b"waypost campaign" + text).digest()[:8], "big") or 1


def encoded_tail(destination: bytes) -> bytes:
    """Give the characters of a destination field: the part of a token behind its head."""
    text = binascii.b2a_base64(destination, newline=False).translate(_TO_URL)
    return text.rstrip(b"=")


class Mint:
    """Makes tokens of one tracking host with the ring's current key."""

    __slots__ = ("_bound", "_signer", "_version", "host", "key_id")

    def __init__(self, keyring: KeyRing, host: str) -> None:
        """Prepare the key; `host` is the tracking host in lower case, as the base URL has it."""
        self.host = host
        self.key_id = keyring.current
        key = keyring.key(self.key_id, LABEL)
        if key is None:
            raise ValueError(f"the key ring has no key {self.key_id}")
        self._signer = Signer(key)
        self._bound = _binding(host)
        self._version = VERSION << 12 | self.key_id

    def token(
        self, kind: Kind, identity: Identity, *, link: int = 0, destination: bytes = b""
    ) -> str:
        """Make one token. Raises ValueError for a number that does not fit its field."""
        head = self.heads(kind, identity, ((link, destination),))[0]
        return (head + encoded_tail(destination)).decode("ascii")

    def heads(
        self, kind: Kind, identity: Identity, links: Sequence[tuple[int, bytes]]
    ) -> list[bytes]:
        """Make the first 60 characters of the tokens of these (link index, destination) pairs."""
        return self.heads_of(kind, identity, link_fields(links)) if links else []

    def heads_of(self, kind: Kind, identity: Identity, fields: Sequence[bytes]) -> list[bytes]:
        """Do the same from `link_fields`, which are the same for every recipient."""
        try:
            fixed = _FIXED.pack(
                self._version,
                kind,
                identity.delivery,
                identity.account,
                identity.domain,
                identity.campaign,
                0,
            )[:-2]
        except struct.error as error:
            raise ValueError(f"{identity} does not fit a token: {error}") from None
        sign = self._signer
        bound = self._bound + fixed
        parts: list[bytes] = []
        for field in fields:
            parts += (fixed, field[:2], sign(bound + field))
        text = binascii.b2a_base64(b"".join(parts), newline=False).translate(_TO_URL)
        return [text[at : at + HEAD_SIZE] for at in range(0, len(text), HEAD_SIZE)]


def link_fields(links: Sequence[tuple[int, bytes]]) -> list[bytes]:
    """Give what tokens of these (link index, destination) pairs have behind their fixed fields."""
    try:
        return [link.to_bytes(2, "big") + destination for link, destination in links]
    except OverflowError as error:
        raise ValueError(f"a link index does not fit a token: {error}") from None


def read(token: str, host: str, keyring: KeyRing) -> Token:
    """Verify a token and say what it carries; raises BadTokenError for anything else."""
    if not _ALPHABET.fullmatch(token):
        raise BadTokenError
    text = token.encode("ascii").translate(_FROM_URL)
    try:
        raw = binascii.a2b_base64(text + b"=" * (-len(text) % 4))
    except binascii.Error:
        raise BadTokenError from None
    fixed, signature, destination = raw[:29], raw[29:45], raw[45:]
    version_key, kind, delivery, account, domain, campaign, link = _FIXED.unpack(fixed)
    key = keyring.key(version_key & 0xFFF, LABEL)
    # An unknown key takes as long as a wrong signature: both are refused by one comparison.
    expected = _signer(key or _NO_KEY)(_binding(host) + fixed + destination, MAC_SIZE)
    good = hmac.compare_digest(expected, signature)
    if not good or key is None:
        raise BadTokenError
    if version_key >> 12 != VERSION or encoded_tail(destination) != token[60:].encode("ascii"):
        raise BadTokenError
    try:
        known = Kind(kind)
    except ValueError:
        raise BadTokenError from None
    identity = Identity(delivery, account, domain, campaign)
    return Token(known, identity, link, destination, version_key & 0xFFF)


_NO_KEY = b"\0" * 32
_signer = lru_cache(maxsize=64)(Signer)


@lru_cache(maxsize=1000)
def _binding(host: str) -> bytes:
    """Give what ties a MAC to a tracking host; the length keeps host and fields apart."""
    name = host.lower().encode("utf-8", "surrogatepass")
    return struct.pack(">H", len(name) & 0xFFFF) + name

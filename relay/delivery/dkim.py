"""DKIM signatures: RSA-SHA256 and Ed25519-SHA256, relaxed/relaxed (RFC 6376, RFC 8301, RFC 8463).

Guarantees: signs From, Subject, To, Date, List-Unsubscribe, List-Unsubscribe-Post and the other
fields listed below, those once more than they occur ("oversigned"); never l=, never SHA-1. Keys are
loaded once per `Signer`. Pure: time is given. The signature of RSA releases the GIL, so `sign` may
run in a thread. Call it after every other change to the message.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from relay.delivery.canonical import chosen, relaxed_body, relaxed_fields
from relay.delivery.dkim_keys import PrivateKey, load_private

SIGNED = (
    b"from",
    b"subject",
    b"to",
    b"date",
    b"message-id",
    b"reply-to",
    b"cc",
    b"sender",
    b"mime-version",
    b"content-type",
    b"content-transfer-encoding",
    b"in-reply-to",
    b"references",
    b"list-id",
    b"list-unsubscribe",
    b"list-unsubscribe-post",
    b"feedback-id",
)
OVERSIGNED = frozenset(
    (
        b"from",
        b"subject",
        b"to",
        b"date",
        b"reply-to",
        b"cc",
        b"mime-version",
        b"content-type",
        b"content-transfer-encoding",
        b"list-unsubscribe",
        b"list-unsubscribe-post",
    )
)
_FOLD = b"\r\n\t"
_PKCS = PKCS1v15()
_SHA256 = SHA256()
_MAX_LINE = 76


class Signer:
    """Signs for one domain and selector."""

    def __init__(self, domain: str, selector: str, private_key: PrivateKey | bytes) -> None:
        """Take the d= and s= values (A-labels) and the key, as an object or as `dkim_keys` stores
        it.

        Raises ValueError for a key that is neither RSA of 1024 bits or more nor Ed25519.
        """
        key = load_private(private_key) if isinstance(private_key, bytes) else private_key
        self.domain = domain
        self.selector = selector
        self._key = key
        self.algorithm = "rsa-sha256" if isinstance(key, RSAPrivateKey) else "ed25519-sha256"
        algorithm = self.algorithm.encode("ascii")
        # Written so that folding where a single space may stand gives the canonical form.
        self._start = b"v=1; a=%s; c=relaxed/relaxed; d=%s; s=%s;" % (
            algorithm,
            domain.encode("ascii"),
            selector.encode("ascii"),
        )

    def sign(self, head: bytes, body: bytes, *, at: int) -> bytes:
        """Give the DKIM-Signature field with its CRLF, to be put in front of the message.

        `head` is the header block (with or without the empty line after it), `body` what follows
        the empty line, `at` seconds since the epoch.
        """
        return sign_all((self,), head, body, at=at)

    def field(self, tag: bytes, fields: bytes, body_hash: bytes, at: int) -> bytes:
        """Give the field for an h= tag, the canonical fields it chooses and a base64 body hash that
        were made once for several signers.
        """
        folded = _FOLD.join(
            (
                self._start,
                b"t=%d;" % at,
                tag,
                b"bh=%s;" % body_hash,
                b"b=",
            )
        )
        unfolded = folded.replace(_FOLD, b" ")
        signature = base64.b64encode(self._signature(fields + b"dkim-signature:" + unfolded))
        pieces = [
            signature[at : at + _MAX_LINE - 4] for at in range(0, len(signature), _MAX_LINE - 4)
        ]
        return b"DKIM-Signature: " + folded + _FOLD.join(pieces) + b"\r\n"

    def _signature(self, data: bytes) -> bytes:
        key = self._key
        if isinstance(key, Ed25519PrivateKey):
            return key.sign(hashlib.sha256(data).digest())  # RFC 8463 section 3
        return key.sign(data, _PKCS, _SHA256)


def sign_all(signers: Sequence[Signer], head: bytes, body: bytes, *, at: int) -> bytes:
    """Give one DKIM-Signature field per signer; body and header are canonicalised and hashed once.

    The first signer's field comes first: put RSA last, for verifiers that look at the topmost they
    know.
    """
    return sign_hashed(signers, head, hashlib.sha256(relaxed_body(body)).digest(), at=at)


def sign_hashed(signers: Sequence[Signer], head: bytes, body_hash: bytes, *, at: int) -> bytes:
    """Do the same with the SHA-256 of the relaxed body, for callers that hash literal segments only
    once.
    """
    names, lines = relaxed_fields(head)
    tag, order = _chosen(names)
    fields = b"".join([lines[place] for place in order])
    encoded = base64.b64encode(body_hash)
    return b"".join([signer.field(tag, fields, encoded, at) for signer in signers])


@lru_cache(maxsize=1000)  # mails of one program have the same fields
def _chosen(names: tuple[bytes, ...]) -> tuple[bytes, list[int]]:
    """Give the h= tag, folded, and which fields it chooses."""
    given, order = chosen(names, SIGNED, OVERSIGNED)
    return b"h=%s;" % _FOLD.join(_folded(given)), order


def _folded(names: Sequence[bytes]) -> list[bytes]:
    """Group names into lines; a line but the last ends with the colon."""
    lines: list[bytes] = []
    line = b""
    for name in names:
        piece = name if not line else line + b":" + name
        if len(piece) > _MAX_LINE - 8 and line:
            lines.append(line + b":")
            piece = name
        line = piece
    lines.append(line)
    return lines

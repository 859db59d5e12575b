"""DKIM keys: making them, storing them as bytes, the DNS record to publish.

Stored form is PKCS#8 DER without encryption; whoever keeps it seals it (DESIGN section 4). RSA keys
have 2,048 bits; keys below 1,024 are refused (RFC 8301 section 3.2).
"""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
)

PrivateKey = RSAPrivateKey | Ed25519PrivateKey

_LEAST_BITS = 1024


def generate(algorithm: str) -> PrivateKey:
    """Make a key; `algorithm` is "rsa" (2,048 bits) or "ed25519". Raises ValueError for another."""
    if algorithm == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if algorithm == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    raise ValueError(f"{algorithm!r} is no DKIM key algorithm: rsa or ed25519 is expected")


def store_private(key: PrivateKey) -> bytes:
    """Give the key as PKCS#8 DER, not encrypted."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def load_private(stored: bytes) -> PrivateKey:
    """Read a key from DER or PEM, not encrypted; raises ValueError for anything that cannot sign
    DKIM.
    """
    load = load_pem_private_key if stored.lstrip().startswith(b"-----") else load_der_private_key
    try:
        key = load(stored, password=None)
    except (ValueError, TypeError) as error:
        raise ValueError(f"the DKIM key cannot be read: {error}") from None
    if isinstance(key, Ed25519PrivateKey):
        return key
    if isinstance(key, RSAPrivateKey):
        if key.key_size < _LEAST_BITS:
            raise ValueError(
                f"the RSA key has {key.key_size} bits, at least {_LEAST_BITS} expected"
            )
        return key
    raise ValueError("the DKIM key is neither RSA nor Ed25519")


def record_name(domain: str, selector: str) -> str:
    """Give the DNS name of the key record (RFC 6376 section 3.6.2.1), without the final dot."""
    return f"{selector}._domainkey.{domain}"


def record_text(key: PrivateKey) -> str:
    """Give the text of the TXT record to publish, in one piece (a zone file splits it at 255
    octets).
    """
    public = key.public_key()
    if isinstance(public, ed25519.Ed25519PublicKey):  # RFC 8463 section 4: the bare 32 octets
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return "v=DKIM1; k=ed25519; p=" + base64.b64encode(raw).decode("ascii")
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return "v=DKIM1; k=rsa; p=" + base64.b64encode(der).decode("ascii")


def zone_strings(text: str) -> list[str]:
    """Split a TXT record into strings of at most 255 octets, as zone files want them."""
    return [text[at : at + 255] for at in range(0, len(text), 255)]

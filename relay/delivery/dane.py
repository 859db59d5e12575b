"""Whether a certificate chain is the one that TLSA records promise (RFC 6698, RFC 7672 section
3.1).

Pure. Usages 2 (DANE-TA) and 3 (DANE-EE) only, as RFC 7672 has it. For usage 3 neither name nor
dates are looked at; for usage 2 the chain must lead from the server's certificate to the one named,
for the host's name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from relay.delivery.route import TlsaRecord

# Issuers must be proper authorities; the server's own certificate often comes from a private one
# that knows little of the web's rules, so of it only a name is asked.
_ISSUERS = ExtensionPolicy.webpki_defaults_ca()
_SERVERS = ExtensionPolicy.permit_all().require_present(
    x509.SubjectAlternativeName, Criticality.AGNOSTIC, None
)

TRUST_ANCHOR = 2
END_ENTITY = 3


def is_usable(record: TlsaRecord) -> bool:
    """Tell whether a record can be used for SMTP: usage, selector, matching type known, data of the
    right length.
    """
    lengths = {0: None, 1: 32, 2: 64}
    if record.usage not in (TRUST_ANCHOR, END_ENTITY) or record.selector not in (0, 1):
        return False
    if record.matching not in lengths or not record.data:
        return False
    wanted = lengths[record.matching]
    return wanted is None or len(record.data) == wanted


def certificate_matches(
    records: Sequence[TlsaRecord], chain: Sequence[bytes], name: str, *, at: datetime | None = None
) -> bool:
    """Tell whether the chain (DER, the server's own first) fits one of the records."""
    if not chain:
        return False
    for record in records:
        if record.usage == END_ENTITY and _matches(record, chain[0]):
            return True
        if record.usage == TRUST_ANCHOR and _anchored(record, chain, name, at):
            return True
    return False


def _matches(record: TlsaRecord, der: bytes) -> bool:
    subject = der
    if record.selector == 1:
        try:
            key = x509.load_der_x509_certificate(der).public_key()
        except ValueError:
            return False
        subject = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if record.matching == 1:
        subject = hashlib.sha256(subject).digest()
    elif record.matching == 2:
        subject = hashlib.sha512(subject).digest()
    return subject == record.data


def _anchored(record: TlsaRecord, chain: Sequence[bytes], name: str, at: datetime | None) -> bool:
    anchors = [der for der in chain[1:] if _matches(record, der)]
    if record.matching == 0 and record.selector == 0:
        anchors.append(record.data)  # the record itself may carry the certificate
    try:
        own = x509.load_der_x509_certificate(chain[0])
        between = [x509.load_der_x509_certificate(der) for der in chain[1:]]
        store = Store([x509.load_der_x509_certificate(der) for der in anchors])
        policy = PolicyBuilder().store(store).time(at or datetime.now(UTC))
        policy = policy.extension_policies(ca_policy=_ISSUERS, ee_policy=_SERVERS)
        policy.build_server_verifier(x509.DNSName(name.rstrip("."))).verify(own, between)
    except (ValueError, VerificationError):  # no anchor found, unreadable, or no path
        return False
    return True

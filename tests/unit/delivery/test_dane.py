"""DANE: validated TLSA records decide which certificate will do (RFC 7672)."""

from __future__ import annotations

import hashlib
import ssl
from datetime import UTC, datetime

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from relay.delivery.dane import certificate_matches, is_usable
from relay.delivery.outgoing import Verdict
from relay.delivery.route import TlsaRecord
from relay.delivery.tls import TlsCounts
from tests.harness.outbound import MakeTransport
from tests.harness.scripted_mx import ScriptedMx
from tests.harness.tls_policies import deliver, server_context, world, zone_with


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    """Make the authority once."""
    return trustme.CA()


def tlsa_of(der: bytes, *, usage: int = 3, selector: int = 1, matching: int = 1) -> TlsaRecord:
    """Make the record for a certificate."""
    data = der
    if selector == 1:
        key = x509.load_der_x509_certificate(der).public_key()
        data = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if matching:
        data = hashlib.new({1: "sha256", 2: "sha512"}[matching], data).digest()
    return TlsaRecord(usage=usage, selector=selector, matching=matching, data=data)


def der_of(certificate: trustme.LeafCert) -> bytes:
    """Give a leaf certificate as DER."""
    return ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())


@pytest.mark.parametrize("usage", [2, 3])
@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
def test_records_match_their_certificate(usage: int, selector: int, matching: int) -> None:
    """Every usable kind of record, against the right chain and a stranger's."""
    ca, stranger = trustme.CA(), trustme.CA()
    leaf, foreign = ca.issue_cert("mx.inbox.test"), stranger.issue_cert("mx.inbox.test")
    root = ssl.PEM_cert_to_DER_cert(ca.cert_pem.bytes().decode())
    other = ssl.PEM_cert_to_DER_cert(stranger.cert_pem.bytes().decode())
    subject = root if usage == 2 else der_of(leaf)
    record = tlsa_of(subject, usage=usage, selector=selector, matching=matching)
    assert is_usable(record)
    assert certificate_matches([record], [der_of(leaf), root], "mx.inbox.test")
    assert not certificate_matches([record], [der_of(foreign), other], "mx.inbox.test")
    assert not certificate_matches([record], [], "mx.inbox.test")
    wrong_name = certificate_matches([record], [der_of(leaf), root], "other.test")
    assert wrong_name == (usage == 3)  # RFC 7672 section 3.1.1: usage 3 looks at no name
    expired = datetime(3001, 1, 1, tzinfo=UTC)
    late = certificate_matches([record], [der_of(leaf), root], "mx.inbox.test", at=expired)
    assert late == (usage == 3)


@pytest.mark.parametrize(
    "record",
    [
        TlsaRecord(usage=1, selector=1, matching=1, data=b"x" * 32),
        TlsaRecord(usage=3, selector=2, matching=1, data=b"x" * 32),
        TlsaRecord(usage=3, selector=1, matching=3, data=b"x" * 32),
        TlsaRecord(usage=3, selector=1, matching=1, data=b"x" * 31),
        TlsaRecord(usage=3, selector=0, matching=0, data=b""),
    ],
)
def test_unusable_records(record: TlsaRecord) -> None:
    """RFC 7672 section 2.2: anything else does not count as usable, and matches nothing."""
    assert not is_usable(record)
    assert not certificate_matches([record], [b"not a certificate"], "mx.inbox.test")


SIGNED = frozenset({"inbox.test", "mx.inbox.test"})
DANE_CASES = [
    # records, signed TLSA, server, delivered, over TLS
    ("match", True, "self-signed", True, True),
    ("mismatch", True, "self-signed", False, False),
    ("match", True, "no tls", False, False),
    ("unusable", True, "self-signed", True, True),
    ("unusable", True, "no tls", False, False),
    ("mismatch", False, "self-signed", True, True),  # not validated: does not count
    ("none", True, "no tls", True, False),
    ("bogus", True, "no tls", False, False),
]


@pytest.mark.parametrize(("records", "signed", "server", "delivered", "over_tls"), DANE_CASES)
async def test_dane_decides(
    make_transport: MakeTransport,
    ca: trustme.CA,
    records: str,
    server: str,
    *,
    signed: bool,
    delivered: bool,
    over_tls: bool,
) -> None:
    """RFC 7672: validated records mean TLS with that certificate, a bogus answer means waiting."""
    leaf = trustme.CA().issue_cert("whatever.test")
    context = server_context(leaf) if server == "self-signed" else None
    counts = TlsCounts()
    async with ScriptedMx(tls=context) as mx:
        name = f"_{mx.port}._tcp.mx.inbox.test"
        data = {
            "match": hashlib.sha256(der_of(leaf)).hexdigest(),
            "mismatch": "00" * 32,
            "unusable": "00" * 32,
        }.get(records)
        usage = 1 if records == "unusable" else 3
        zone = zone_with({name: [f"{usage} 0 1 {data}"]} if data else {})
        del zone["_mta-sts.inbox.test"]
        if records == "bogus":
            zone["inbox.test"] = {"MX": ["10 mx.inbox.test."]}
        names = SIGNED | ({name} if signed else frozenset())
        async with world(ca, zone, signed=names) as w:
            if records == "bogus":
                w.dns.broken_names.add(name)
            got = await deliver(make_transport, ca, w, mx, counts)
    assert (got[0] is Verdict.DELIVERED) == delivered
    assert bool(got[3]) == over_tls
    if not delivered:
        assert got[0] is Verdict.RETRY
        assert mx.messages == []
    if records == "mismatch" and signed:
        assert counts.counts["inbox.test", "tlsa", "tlsa-invalid"] == 1

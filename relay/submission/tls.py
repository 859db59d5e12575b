"""The certificate of the SMTP doors: read from files, or made by ourselves at the first start.

A certificate we made protects against listening, not against somebody in the middle; clients that
check names need one from an authority. `ServerTls.reload` takes new files into use without a
restart: running connections keep the old certificate, the next handshake uses the new one.
"""

import contextlib
import datetime
import fcntl
import ipaddress
import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFETIME = datetime.timedelta(days=3650)


def server_context() -> ssl.SSLContext:
    """TLS 1.2 or newer, forward secrecy only, no renegotiation, no compression (RFC 8314)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    return context


@dataclass(slots=True, kw_only=True)
class ServerTls:
    """A context with its files; `context` stays the same object for life."""

    certificate: Path
    private_key: Path
    context: ssl.SSLContext = field(default_factory=server_context)

    def __post_init__(self) -> None:
        self.reload()

    def reload(self) -> None:
        """Read the files again. Raises OSError or ssl.SSLError; the old certificate then stays."""
        # A trial first: a key that does not fit would leave the live context half changed.
        server_context().load_cert_chain(self.certificate, self.private_key)
        self.context.load_cert_chain(self.certificate, self.private_key)


def load(certificate: Path, private_key: Path) -> ServerTls:
    """Use existing files. Raises OSError (unreadable) or ssl.SSLError (do not fit)."""
    return ServerTls(certificate=certificate, private_key=private_key)


def load_or_create(directory: Path, hostname: str) -> ServerTls:
    """Use `smtp.crt` and `smtp.key` in `directory`; make them if they are not there."""
    certificate, private_key = directory / "smtp.crt", directory / "smtp.key"
    directory.mkdir(parents=True, exist_ok=True)
    # Workers start together: two that both make a pair would leave one's key and the other's chain.
    with (directory / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (certificate.exists() and private_key.exists()):
            key, chain = self_signed(hostname, now=datetime.datetime.now(datetime.UTC))
            _write(private_key, key)
            _write(certificate, chain)
    return load(certificate, private_key)


def self_signed(hostname: str, *, now: datetime.datetime) -> tuple[bytes, bytes]:
    """Make a key and a certificate for `hostname` and the loopback names; both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])])
    names: list[x509.GeneralName] = [
        x509.DNSName(each) for each in dict.fromkeys((hostname, "localhost"))
    ]
    names += [x509.IPAddress(ipaddress.ip_address(each)) for each in ("127.0.0.1", "::1")]
    chain = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return pem, chain.public_bytes(serialization.Encoding.PEM)


def _write(path: Path, data: bytes) -> None:
    """Write a file that only we may read, complete or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        draft.unlink()
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)

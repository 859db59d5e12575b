"""TLS towards next hops: which context fits which level, what is counted, what a failure is called.

Contexts are built once per level and kept. TLS 1.2 is the least that counts as TLS. Opportunistic
and required levels take any certificate (RFC 3207 section 4.1: most are not verifiable); the
verified level checks chain and name; DANE checks the chain against DNS after the handshake
(`relay.delivery.mx.dane`).
"""

from __future__ import annotations

import ssl
from collections import Counter
from dataclasses import dataclass, field

from relay.delivery.route import Target, TlsLevel

_MAX_COUNTED = 10_000


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class TlsContexts:
    """The client contexts of a process."""

    def __init__(self, verified: ssl.SSLContext | None = None) -> None:
        """Use `verified` for the verified level, else the system's certificate authorities."""
        self._unverified = _unverified()
        self._verified = verified

    def choose(self, target: Target) -> ssl.SSLContext:
        """Give the context for a target; DANE replaces certificate authorities, so it takes the
        unverified one.
        """
        if target.tls < TlsLevel.VERIFIED or target.tlsa:
            return self._unverified
        if self._verified is None:
            self._verified = ssl.create_default_context()
            self._verified.minimum_version = ssl.TLSVersion.TLSv1_2
        return self._verified


@dataclass(slots=True)
class TlsCounts:
    """Sessions and failures as RFC 8460 section 4.2 wants them, by (policy domain, policy type,
    result type).

    Policy type is "sts", "tlsa" or "no-policy-found"; result type a word of RFC 8460 section 4.3,
    or "success".
    """

    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def count(self, domain: str, target: Target, result: str) -> None:
        """Count one session; beyond the bound of domains everything falls to the domain ""."""
        policy = {"sts": "sts", "dane": "tlsa"}.get(target.policy, "no-policy-found")
        key = (domain, policy, result)
        if len(self.counts) >= _MAX_COUNTED and key not in self.counts:
            key = ("", policy, result)
        self.counts[key] += 1


def result_type(error: BaseException) -> str:
    """Name a TLS failure in the words of RFC 8460 section 4.3."""
    if isinstance(error, ssl.SSLCertVerificationError):
        code = error.verify_code
        if code in (9, 10):  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
            return "certificate-expired"
        if code in (62, 63, 64):  # X509_V_ERR_HOSTNAME_MISMATCH, _EMAIL_, _IP_ADDRESS_
            return "certificate-host-mismatch"
        return "certificate-not-trusted"
    return "validation-failure"

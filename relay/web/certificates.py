"""HTTPS of the tracking hosts: one certificate for the node's own host, one file for each other.

The folder holds `HOST.pem` (chain and private key in one file) for each sending domain's tracking
host; the name a client asks for (SNI, RFC 6066 section 3) chooses. Guarantees: a host without a
file gets the node's certificate; a file that cannot be used is logged and leaves what was in use;
a file for a new host is found at its first handshake, changed ones at the next `reload`.
"""

from __future__ import annotations

import logging
import re
import ssl
from pathlib import Path

from relay.submission.tls import ServerTls

_log = logging.getLogger(__name__)

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,250}[a-z0-9])?")


class SiteTls:
    """The TLS contexts of one worker's tracking hosts; `context` is for the listener."""

    def __init__(self, certificate: Path, private_key: Path, folder: Path | None = None) -> None:
        """Read the node's certificate. Raises OSError (unreadable) or ssl.SSLError (no fit)."""
        self._own = ServerTls(certificate=certificate, private_key=private_key)
        self._folder = folder
        self._by_name: dict[str, ServerTls] = {}
        self.context = self._own.context
        self.context.sni_callback = self._choose

    def reload(self) -> None:
        """Read all files again; raises as the constructor does, about the node's own only."""
        self._own.reload()
        for name, known in list(self._by_name.items()):
            if not known.certificate.exists():
                del self._by_name[name]
                continue
            try:
                known.reload()
            except (OSError, ssl.SSLError) as problem:
                _log.warning("%s is not used: %s", known.certificate, problem)

    def _choose(
        self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext
    ) -> None:
        found = self._of((name or "").lower().rstrip("."))
        if found is not None:
            connection.context = found.context

    def _of(self, name: str) -> ServerTls | None:
        known = self._by_name.get(name)
        if known is not None or self._folder is None or not _NAME.fullmatch(name):
            return known
        file = self._folder / f"{name}.pem"
        if not file.is_file():
            return None
        try:
            self._by_name[name] = ServerTls(certificate=file, private_key=file)
        except (OSError, ssl.SSLError) as problem:
            _log.warning("%s is not used: %s", file, problem)
        return self._by_name.get(name)

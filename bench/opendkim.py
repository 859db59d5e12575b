"""A private opendkim on a unix socket, for the Postfix that is compared with signed mail.

Guarantees: Debian's package, RSA-2048, relaxed/relaxed, one domain; everything it needs lies in the
folder given, the machine's own opendkim is neither read nor touched. Needs root.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from pathlib import Path

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from relay.delivery.dkim_keys import generate

_CONFIG = """\
Socket local:{root}/socket
PidFile {root}/pid
UMask 000
Mode s
Domain {domain}
Selector s1
KeyFile {root}/key.pem
RequireSafeKeys no
Canonicalization relaxed/relaxed
SignatureAlgorithm rsa-sha256
OversignHeaders From
InternalHosts 127.0.0.1
Background no
Syslog no
"""
PROGRAM = "/usr/sbin/opendkim"


def installed() -> bool:
    """Say whether Debian's opendkim package is installed."""
    return shutil.which(PROGRAM) is not None


class OpenDkim:
    """One instance; `start` and `stop`."""

    def __init__(self, root: Path, domain: str) -> None:
        """Lay it out under `root`; it signs mail from `domain`."""
        root.mkdir(parents=True)
        root.chmod(0o755)
        self._root = root
        key = generate("rsa").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (root / "key.pem").write_bytes(key)
        (root / "opendkim.conf").write_text(_CONFIG.format(root=root, domain=domain))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> str:
        """Give the lines of main.cf that make Postfix use it."""
        return f"smtpd_milters = unix:{self._root}/socket\nmilter_default_action = tempfail\n"

    @property
    def pid(self) -> int:
        """Give its process id, 0 before it is started."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start it and wait for its socket; raises TimeoutError."""
        self._process = subprocess.Popen(  # noqa: S603
            [PROGRAM, "-f", "-x", str(self._root / "opendkim.conf")]
        )
        deadline = time.monotonic() + 20
        while not (self._root / "socket").exists():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise TimeoutError("opendkim opened no socket")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)

"""A private Postfix for comparison: Debian's package, an instance of its own in a temporary
directory, loopback only.

Guarantees: durable queue (Postfix syncs its queue file before it says 250), no milter, no lookups,
relays everything to the sink given; started and stopped here, the machine's own Postfix is neither
read nor touched. Needs root, as Postfix does.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from pathlib import Path

_MAIN = """\
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = loopback-only
inet_protocols = ipv4
myhostname = peer.test
mydestination =
local_recipient_maps =
local_transport = error:none
alias_maps =
alias_database =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions =
relayhost = [127.0.0.1]:{sink}
disable_dns_lookups = yes
smtp_host_lookup = native
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
default_process_limit = 200
message_size_limit = 0
smtpd_tls_security_level = none
smtp_tls_security_level = none
smtpd_sasl_auth_enable = no
in_flow_delay = 0
{extra}
"""
_MASTER = """\
{host}:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
virtual unix - n n - - virtual
tlsmgr unix - - n 1000? 1 tlsmgr
"""


class Postfix:
    """One instance; `start` and `stop`, or use as a context manager."""

    def __init__(
        self, root: Path, *, port: int, sink: int, extra: str = "", host: str = "127.0.0.1"
    ) -> None:
        """Lay out the instance under `root`; `extra` lines go at the end of main.cf."""
        self.root = root
        self.port = port
        self._config = root / "etc"
        for folder in (root, self._config, root / "queue"):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755)
        data = root / "data"
        data.mkdir(exist_ok=True)
        shutil.chown(data, "postfix", "postfix")
        settings = _MAIN.format(root=root, sink=sink, extra=extra)
        (self._config / "main.cf").write_text(settings, encoding="ascii")
        (self._config / "master.cf").write_text(
            _MASTER.format(host=host, port=port), encoding="ascii"
        )

    def __enter__(self) -> Postfix:
        """Start."""
        self.start()
        return self

    def __exit__(self, *ended: object) -> None:
        """Stop."""
        self.stop()

    @property
    def pid(self) -> int:
        """Give the process id of its master."""
        return int((self.root / "queue" / "pid" / "master.pid").read_text())

    def start(self) -> None:
        """Start it; raises CalledProcessError with what it said."""
        self._postfix("start")
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError, ValueError):
                if self.pid:
                    return
            if time.monotonic() > deadline:
                raise TimeoutError("Postfix wrote no master.pid")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._postfix("stop")

    def _postfix(self, verb: str) -> None:
        command = ["/usr/sbin/postfix", "-c", str(self._config), verb]
        subprocess.run(command, check=True, capture_output=True, timeout=60)  # noqa: S603

"""Mail servers that others wrote, run for a test: Postfix, Exim and OpenSMTPD, on loopback, each
with everything it writes in a temporary folder. Every one puts all mail into one Maildir.

Postfix is Debian's package as installed. Exim and OpenSMTPD cannot be installed beside it and have
their paths compiled in: they run in a root directory of their own, a copy of what `.ci/mtas`
unpacked (`.mtas`, or WAYPOST_TEST_MTAS). All three need root, as they do everywhere.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from bench.postfix import Postfix
from tests.harness.programs import lacking, need_program

UNPACKED = Path(__file__).parents[2] / ".mtas"
_PASSWD = """\
root:x:0:0::/root:/bin/sh
box:x:1000:1000::/mail:/bin/sh
Debian-exim:x:1001:1001::/var/spool/exim4:/bin/sh
opensmtpd:x:1002:1002::/var/lib/opensmtpd/empty:/bin/sh
opensmtpq:x:1003:1003::/var/lib/opensmtpd/empty:/bin/sh
"""
_GROUP = "root:x:0:\nbox:x:1000:\nDebian-exim:x:1001:\nopensmtpd:x:1002:\nopensmtpq:x:1003:\n"
_EXIM = """\
primary_hostname = exim.test
local_interfaces = {host}
daemon_smtp_ports = {port}
acl_smtp_rcpt = anybody
host_lookup =
keep_environment =
smtp_accept_max = 100
smtp_accept_queue_per_connection = 0
begin acl
anybody:
  accept
begin routers
here:
  driver = accept
  transport = box
begin transports
box:
  driver = appendfile
  directory = /mail
  maildir_format
  create_directory
  user = Debian-exim
"""
_OPENSMTPD = """\
listen on {host} port {port} hostname opensmtpd.test
table anybody {{ "@" = "box" }}
action "box" maildir "/mail" virtual <anybody>
match from any for any action "box"
"""
_MAILDIR = """\
virtual_mailbox_domains = static:all
virtual_mailbox_maps = static:box/
virtual_mailbox_base = {root}
virtual_mailbox_limit = 0
virtual_uid_maps = static:{user}
virtual_gid_maps = static:{user}
virtual_minimum_uid = 1
virtual_transport = virtual
relayhost =
"""
_NOBODY = 65534


def need_root() -> None:
    """Skip or fail the calling test unless it runs as root."""
    if os.geteuid() != 0:
        lacking("mail servers need root")


def unpacked() -> Path:
    """Give the folder of unpacked servers; skips or fails the calling test without it."""
    need_root()
    folder = Path(os.environ.get("WAYPOST_TEST_MTAS") or UNPACKED)
    if not (folder / "usr/sbin/exim4").exists():
        lacking(f"{folder}: Exim and OpenSMTPD are not unpacked there (.ci/mtas does)")
    return folder


@contextlib.contextmanager
def postfix_box(folder: Path, host: str, port: int) -> Iterator[Path]:
    """Run Postfix; gives its Maildir."""
    need_root()
    need_program("postfix")
    root = folder / "postfix"
    box = root / "box"
    open_way(folder)
    for name in ("", "tmp", "new", "cur"):
        (box / name).mkdir(parents=True, exist_ok=True)
        shutil.chown(box / name, _NOBODY, _NOBODY)
    extra = _MAILDIR.format(root=root, user=_NOBODY)
    with Postfix(root, port=port, sink=port, extra=extra, host=host):
        _wait(host, port)
        yield box


@contextlib.contextmanager
def exim_box(folder: Path, host: str, port: int) -> Iterator[Path]:
    """Run Exim; gives its Maildir."""
    root = _new_root(folder / "exim")
    _write(root, "etc/exim4/exim4.conf", _EXIM.format(host=host, port=port))
    for path in ("var/spool/exim4", "var/log/exim4", "mail"):
        (root / path).mkdir(parents=True, exist_ok=True)
        os.chown(root / path, 1001, 1001)
    (root / "usr/sbin/exim4").chmod(0o4755)
    with _running(root, host, port, "/usr/sbin/exim4", "-bdf", "-q1m"):
        yield root / "mail"


@contextlib.contextmanager
def opensmtpd_box(folder: Path, host: str, port: int) -> Iterator[Path]:
    """Run OpenSMTPD; gives its Maildir. It knows no SMTPUTF8."""
    root = _new_root(folder / "opensmtpd")
    _write(root, "etc/smtpd.conf", _OPENSMTPD.format(host=host, port=port))
    for path in ("var/spool", "var/lib/opensmtpd/empty", "mail"):
        (root / path).mkdir(parents=True, exist_ok=True)
    os.chown(root / "mail", 1000, 1000)
    with _running(root, host, port, "/usr/sbin/smtpd", "-d", "-f", "/etc/smtpd.conf"):
        yield root / "mail"


def arrived(files: Iterable[Path]) -> dict[int, bytes]:
    """Give stored mails by the number in their Subject; line ends are LF."""
    found = {}
    for path in files:
        raw = path.read_bytes()
        number = raw.partition(b"\nSubject: ")[2].partition(b"\n")[0]
        found[int(number)] = raw
    return found


def _new_root(root: Path) -> Path:
    subprocess.run(["/bin/cp", "-a", str(unpacked()), str(root)], check=True)
    _write(root, "etc/passwd", _PASSWD)
    _write(root, "etc/group", _GROUP)
    _write(root, "etc/hosts", "127.0.0.1 localhost\n")
    _write(root, "etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")
    return root


def _write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text, encoding="ascii")
    path.chmod(0o644)


def open_way(folder: Path) -> None:
    """Let other users come through to a folder below the one for temporary files."""
    for path in (folder, *folder.parents):
        if path.stat().st_uid != os.geteuid() or path == Path(path.anchor):
            break
        path.chmod(path.stat().st_mode | 0o011)


@contextlib.contextmanager
def _running(root: Path, host: str, port: int, *command: str) -> Iterator[None]:
    with (root / "said").open("wb") as said:
        process = subprocess.Popen(  # a fixed program
            ["/usr/sbin/chroot", str(root), *command],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            _wait(host, port, process, root / "said")
            yield
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait(10)


def _wait(
    host: str,
    port: int,
    process: subprocess.Popen[bytes] | None = None,
    said: Path | None = None,
) -> None:
    """Wait until somebody listens; raises AssertionError with what the program said."""
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(OSError), socket.create_connection((host, port), 5) as talk:
            if talk.recv(3) == b"220":
                return
        ended = process is not None and process.poll() is not None
        if ended or time.monotonic() > deadline:
            raise AssertionError(
                f"nobody greets at {host}:{port}: {said.read_text() if said else ''}"
            )
        time.sleep(0.05)

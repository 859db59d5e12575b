"""A throw-away PostgreSQL cluster on loopback, for tests that run against both databases.

Made once per test process in a temporary folder, stopped and removed at its end. The server will
not run as root; then it runs as the user `postgres` that Debian's package makes. Where no server is
installed the calling test skips visibly.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness.programs import need_program

_DEBIAN = Path("/usr/lib/postgresql")


def _folder_of_programs() -> Path:
    """Give the folder with initdb and postgres: Debian keeps it off the PATH, one per version."""
    versions = sorted(_DEBIAN.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return versions[-1].parent if versions else Path(need_program("postgres")).parent


class Cluster:
    """A running server; each test gets a database of its own."""

    def __init__(self, programs: Path, folder: Path) -> None:
        """Make the cluster and start it on a free port of 127.0.0.1."""
        self._programs = programs
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
            self._as_user = [need_program("runuser"), "-u", "postgres", "--"]
        self._data = folder / "data"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._run(
            "initdb", "-D", str(self._data), "-A", "trust", "-U", "waypost", "-E", "UTF8", "-N",
            "--locale=C",
        )  # fmt: skip
        self._folder = folder
        self.start()

    def start(self, more: str = "-c fsync=off") -> None:
        """Start the server; `more` are options of it."""
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -k {self._folder} {more}"
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", str(self._data), "-l", log, "-w", "-o", options, "start")

    def _run(self, program: str, *arguments: str) -> None:
        command: Sequence[str] = [*self._as_user, str(self._programs / program), *arguments]
        subprocess.run(
            command,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd="/",
            timeout=60,
        )

    def database(self) -> str:
        """Make an empty database; gives its URL."""
        name = f"ledger_{secrets.token_hex(6)}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "waypost", name)
        return f"postgresql://waypost@127.0.0.1:{self.port}/{name}"

    def stop(self) -> None:
        """Stop the server at once; nothing in it is worth keeping."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", "immediate", "stop")


@contextmanager
def postgres_cluster() -> Iterator[Cluster]:
    """Run a cluster for the length of a `with`; skips the test where it cannot be started."""
    programs = _folder_of_programs()
    folder = Path(tempfile.mkdtemp(prefix="waypost-postgres-"))
    try:
        cluster = _started(programs, folder)
        try:
            yield cluster
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _started(programs: Path, folder: Path) -> Cluster:
    try:
        return Cluster(programs, folder)
    except (subprocess.CalledProcessError, KeyError) as error:
        said = getattr(error, "stderr", b"") or b""
        reason = f"PostgreSQL cannot be started: {error} {said.decode(errors='replace')}"
    pytest.skip(reason)

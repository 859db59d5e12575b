"""Where things lie: the files under the data directory, and how an endpoint is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things lie under the data directory."""

    root: Path

    @property
    def run(self) -> Path:
        """Sockets and pid files: worthless once the processes are gone."""
        return self.root / "run"

    @property
    def link_socket(self) -> Path:
        """The unix socket between workers and control."""
        return self.run / "link.sock"

    @property
    def admin_socket(self) -> Path:
        """The unix socket where the operator's commands reach control."""
        return self.run / "admin.sock"

    @property
    def keyring(self) -> Path:
        """The key ring: back it up apart from everything else."""
        return self.root / "keys" / "keyring.json"

    @property
    def snapshot(self) -> Path:
        """The settings that workers start from."""
        return self.root / "snapshot" / "settings.msgpack"

    @property
    def suppressions(self) -> Path:
        """The suppression table that workers map."""
        return self.root / "snapshot" / "suppressions.table"

    @property
    def notices(self) -> Path:
        """The folder of the workers' urgent facts."""
        return self.root / "notices"

    @property
    def unrecognised(self) -> Path:
        """Mails that came back and that nobody could read: evidence."""
        return self.root / "unrecognised"

    @property
    def shared_table(self) -> Path:
        """The counters that workers share."""
        return self.run / "shared.table"

    @property
    def certificates(self) -> Path:
        """The self-signed certificate made at first start."""
        return self.root / "certificates"

    def spool(self, number: int) -> Path:
        """Give the folder of one worker's spool."""
        return self.root / "spool" / str(number)

    def pid_file(self, name: str) -> Path:
        """Give the pid file of a process."""
        return self.run / f"{name}.pid"

    def prepare(self) -> None:
        """Make the folders, readable by the owner alone; settings of existing ones are mended."""
        for folder in (self.root, self.run, self.keyring.parent, self.snapshot.parent,
                       self.notices, self.certificates, self.root / "spool"):  # fmt: skip
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root.chmod(0o700)


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """Split "host:port" (IPv6 in brackets) into its parts."""
    host, _, port = endpoint.rpartition(":")
    return host.strip("[]"), int(port)

"""The driver's ledger: what was tried and what was acknowledged, flushed before anything else
happens.

Lines: `try <id> <recipients, comma between> <sha256>` before the final dot leaves, `ack <id>
<reply>` after a 2xx, `nak <id> <reply>` after 4xx or 5xx. A try with neither is indeterminate: the
connection died.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from tests.harness.mails import Mail


@dataclass
class Tried:
    """What a ledger says, by message id."""

    recipients: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)
    acknowledged: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def indeterminate(self) -> set[str]:
        """Give the ids whose connection died after the final dot may have left."""
        return set(self.recipients) - set(self.acknowledged) - set(self.refused)

    def addresses(self, ids: Iterable[str]) -> set[str]:
        """Give the recipients of these messages."""
        return {address for name in ids for address in self.recipients[name]}


class LedgerFile:
    """Appends to a ledger; use as a context manager."""

    def __init__(self, path: Path) -> None:
        """Open for appending."""
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> LedgerFile:
        """Give itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._file.close()

    def tried(self, mail: Mail) -> None:
        """Note that the final dot is about to leave."""
        recipients = ",".join(address.decode() for address in mail.recipients)
        self._line(f"try {mail.id} {recipients} {mail.sha256}")

    def acknowledged(self, mail: Mail, reply: str) -> None:
        """Note a 2xx."""
        self._line(f"ack {mail.id} {reply}")

    def refused(self, mail: Mail, reply: str) -> None:
        """Note a 4xx or 5xx."""
        self._line(f"nak {mail.id} {reply}")

    def _line(self, text: str) -> None:
        self._file.write(text.replace("\n", " ") + "\n")
        self._file.flush()


def read_ledger(path: Path) -> Tried:
    """Read a ledger back; raises ValueError for a line that is none."""
    tried = Tried()
    for line in path.read_text(encoding="utf-8").splitlines():
        what, name, rest = line.split(" ", 2)
        match what:
            case "try":
                recipients, tried.sha256[name] = rest.split(" ")
                tried.recipients[name] = tuple(recipients.split(","))
            case "ack":
                tried.acknowledged[name] = rest
            case "nak":
                tried.refused[name] = rest
            case _:
                raise ValueError(f"not a line of a ledger: {line!r}")
    return tried

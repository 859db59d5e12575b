"""Once a fold is committed it counts as done, whatever fails then."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from relay.errors import StorageError
from relay.ledger.engine import open_ledger
from relay.ledger.fold import Folder
from relay.process.folding import Folding
from relay.spool.protocol import Batch
from tests.harness.facts import accepted, batches


class Facts:
    """What suppresses, failing before or after the fold."""

    def __init__(self) -> None:
        """Fail nowhere."""
        self.taking: Exception | None = None
        self.settling: Exception | None = None

    async def take(self, _batches: Sequence[Batch]) -> int:
        """Fail before the fold, if told to."""
        if self.taking:
            raise self.taking
        return 0

    async def settle(self) -> int:
        """Fail after the fold, if told to."""
        if self.settling:
            raise self.settling
        return 0


@pytest.mark.parametrize("problem", [StorageError("read-only"), ValueError("a bug")])
async def test_only_what_fails_before_the_commit_is_a_failure_of_the_fold(
    tmp_path: Path, problem: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    facts = Facts()
    one, two = batches([accepted(1), accepted(2)], size=1)
    async with open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        folding = Folding(Folder(ledger), facts)
        facts.settling = problem
        assert await folding.fold("spool", [one]) == 1
        assert str(problem) in caplog.text
        facts.taking = problem
        with pytest.raises(type(problem)):
            await folding.fold("spool", [two])
        assert await folding.marks(["spool", "other"]) == {"spool": 1, "other": 0}
        facts.taking = facts.settling = None
        assert await folding.fold("spool", [one, two]) == 2

"""What control does with facts: what they suppress comes into force, then the ledger folds them.

Guarantees: one batch at a time; what suppresses is taken before the fold acknowledges it, so that a
crash in between loses none; once the fold is committed its mark is given, whatever happens then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from relay.errors import StorageError
from relay.ledger.fold import Folder
from relay.spool.protocol import Batch

_log = logging.getLogger(__name__)


class Suppressing(Protocol):
    """Turns facts into suppressions (`relay.control.operations.suppression_facts`)."""

    async def take(self, batches: Sequence[Batch]) -> int:
        """Take what suppresses, before the fold; the same facts may come again."""
        ...

    async def settle(self) -> int:
        """Do what needs the folded rows; what fails for the ledger's sake is done next time."""
        ...


class Folding:
    """The way of all facts into one ledger; control has exactly one."""

    def __init__(self, folder: Folder, facts: Suppressing) -> None:
        """Take the ledger's fold and whoever turns facts into suppressions."""
        self._folder = folder
        self._facts = facts
        self._turn = asyncio.Lock()

    async def marks(self, spools: Sequence[str]) -> dict[str, int]:
        """Give how far each spool was folded."""
        return {spool: await self._folder.mark(spool) for spool in spools}

    async def fold(self, spool: str, batches: Sequence[Batch]) -> int:
        """Fold batches of one spool; gives its new mark.

        Raises StorageError; then nothing was folded, and the same batches must come again.
        """
        async with self._turn:
            await self._facts.take(batches)
            mark = await self._folder.fold(spool, batches)
            await self._settle()
            return mark

    async def _settle(self) -> None:
        """Settle; the fold is committed, so a failure here must not look like one of the fold."""
        try:
            await self._facts.settle()
        except StorageError as problem:
            _log.warning("suppressions wait for the next facts: %s", problem)
        except Exception:  # noqa: BLE001 - a bug of ours: who sent the facts has no part in it
            _log.exception("suppressions could not be settled")

"""Spools that no worker owns any more: found, locked and drained by a live worker.

Fewer workers than before leave directories behind. A live worker opens them as draining spools:
their mail is delivered and their facts go up under their own incarnation, and no new mail is taken.
The directory stays when it is empty, so that its number and its outbox sequence are never begun
anew; a worker that comes back under this number goes on with it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from relay.clock import Clock, now
from relay.errors import StorageError
from relay.spool.local import LocalSpool, open_spool
from relay.spool.lock import SpoolHeldError
from relay.spool.options import SpoolOptions
from relay.spool.recovery import stored_number

log = logging.getLogger(__name__)


def orphans(root: Path, owned: Collection[str]) -> list[Path]:
    """List spool directories below `root` whose names are not among those workers own."""
    return sorted(
        path.parent for path in root.glob("*/spool.sqlite") if path.parent.name not in owned
    )


def adopt(path: Path, options: SpoolOptions, *, clock: Clock = now) -> LocalSpool | None:
    """Open an orphan to drain it; None when somebody has it, or when it cannot be read.

    What cannot be read stays as it is, for a person to look at, and is logged. Blocks on the disk.
    """
    try:
        number = stored_number(path)
        return open_spool(path, number, replace(options, draining=True), clock=clock)
    except SpoolHeldError:
        return None
    except StorageError:
        log.exception("the orphaned spool %s is left alone", path)
        return None

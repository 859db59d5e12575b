"""The border between us and a mail that our own reading fails at.

Guarantees: one mail costs at most itself. What an exception of ours leaves of it is `UNREADABLE`, a
report of kind other, for whoever calls to keep and count; the log has the traceback. What is no
fault of the mail (`NOT_ITS_FAULT`: storage, disk, memory) passes, so that the mail is tried again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from bounces.linking import Consequence
from bounces.report import Kind, Report
from relay.errors import StorageError

_log = logging.getLogger(__name__)

NOT_ITS_FAULT: Final = (StorageError, OSError, MemoryError)
UNREADABLE: Final = Report(kind=Kind.OTHER, why="it could not be read")
NOTHING: Final = Consequence(event="", category="", reason="", suppress=False)

Read = Callable[[bytes], Report]


def read_or_not(read: Read, message: bytes) -> Report:
    """Give what `read` makes of a mail, `UNREADABLE` where it raises."""
    try:
        return read(message)
    except NOT_ITS_FAULT:
        raise
    except Exception:  # noqa: BLE001 - the border: a fault of ours in one mail stops no other
        _log.exception("a mail that came back could not be read")
        return UNREADABLE

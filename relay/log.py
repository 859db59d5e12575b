"""The log: one line per record on standard error, every control character escaped.

Guarantees that text from the wire cannot forge a line or reach a terminal as an escape sequence
(bad inputs C23, M04), that records carry the process's name, and that errors are counted, so that
metrics tell of what else only the log would say.
"""

from __future__ import annotations

import logging
import sys
import time

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_ESCAPES |= {0x2028: "\\u2028", 0x2029: "\\u2029"}
_MAX_CHARACTERS = 4000

CAUSES = ("memory", "other")
errors = dict.fromkeys(CAUSES, 0)
"""The records of level ERROR and above that this process has sent, by cause: `memory` where an
allocation failed.
"""


class _LineFormatter(logging.Formatter):
    """Puts a record, traceback included, on one escaped line."""

    converter = staticmethod(time.gmtime)  # UTC, as all our times
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record)[:_MAX_CHARACTERS].translate(_ESCAPES)


def _count(record: logging.LogRecord) -> bool:
    """Count an error; a filter that lets everything pass."""
    if record.levelno >= logging.ERROR:
        problem = record.exc_info[1] if record.exc_info else None
        errors["memory" if isinstance(problem, MemoryError) else "other"] += 1
    return True


def set_up(process: str, level: str) -> None:
    """Send this process's records of `level` and above to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    form = f"%(asctime)s %(levelname)s {process} %(name)s: %(message)s"
    handler.setFormatter(_LineFormatter(form))
    handler.addFilter(_count)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # A bad request is the sender's fault: aiohttp would log a traceback for each.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # ten lines at each start

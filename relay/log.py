"""The log: one line per record on standard error, every control character escaped.

Guarantees that text from the wire cannot forge a line or reach a terminal as an escape sequence
(bad inputs C23, M04), and that records carry the process's name.
"""

from __future__ import annotations

import logging
import sys
import time

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_ESCAPES |= {0x2028: "\\u2028", 0x2029: "\\u2029"}
_MAX_CHARACTERS = 4000


class _LineFormatter(logging.Formatter):
    """Puts a record, traceback included, on one escaped line."""

    converter = staticmethod(time.gmtime)  # UTC, as all our times
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record)[:_MAX_CHARACTERS].translate(_ESCAPES)


def set_up(process: str, level: str) -> None:
    """Send this process's records of `level` and above to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    form = f"%(asctime)s %(levelname)s {process} %(name)s: %(message)s"
    handler.setFormatter(_LineFormatter(form))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # A bad request is the sender's fault: aiohttp would log a traceback for each.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # ten lines at each start

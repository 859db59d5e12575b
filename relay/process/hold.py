"""One installation per data directory: the supervisor's lock, held for its life.

Guarantees: a second supervisor waits for the first to end and then gives up with its process id,
before it has touched anything; the kernel lets go of the lock when its holder ends, however it
ends. Children do not inherit it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Iterator

from relay.errors import ConfigError
from relay.layout import Layout

_log = logging.getLogger(__name__)

_WAIT_SECONDS = 20.0  # a predecessor that was told to stop may still be draining


@contextlib.contextmanager
def data_directory(layout: Layout, wait_seconds: float = _WAIT_SECONDS) -> Iterator[None]:
    """Make the data directory ready and hold it; raises ConfigError when it cannot be had."""
    try:
        layout.prepare()
        handle = os.open(layout.run / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as problem:
        raise ConfigError(
            f"node.data_dir: {layout.root} cannot be used: {problem.strerror}"
        ) from None
    try:
        _lock(handle, layout, time.monotonic() + wait_seconds)
        os.truncate(handle, 0)
        os.pwrite(handle, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, layout: Layout, deadline: float) -> None:
    said = False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip() or "unknown"
        else:
            return
        if time.monotonic() > deadline:
            raise ConfigError(
                f"node.data_dir: {layout.root} is in use by another Waypost (process {holder})"
            )
        if not said:
            _log.warning("waiting for process %s, which uses %s, to end", holder, layout.root)
            said = True
        time.sleep(0.1)

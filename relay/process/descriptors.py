"""How many files and connections a process may hold: as many as the system lets it, and never all
of them for those who connect.

A process without a descriptor left can neither read what others noted nor open its own files.
"""

from __future__ import annotations

import contextlib
import resource

_MOST = 65_536
_PART = 0.7  # the rest is for deliveries, the tracking host, files
_FILES = 50


def raise_limit() -> None:
    """Raise the soft limit, which is often 1,024, as far as the hard one allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # a sandbox may forbid it; then it stays
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def for_connections() -> int:
    """Give how many SMTP connections this process may hold."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST
    return max(int(soft * _PART) - _FILES, 1)

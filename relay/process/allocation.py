"""Large blocks of memory are given back to the system when they are free.

glibc's malloc maps blocks of 128 KiB and more one by one, and unmaps them when they are freed; but
with the first of them that is freed it raises that bound up to 32 MiB, and from then on the
contents of large mails and the buffers of TLS connections come from the heap, where one small block
behind them keeps them resident for good. A bound that was set, if only to what it is, stays.
"""

from __future__ import annotations

import ctypes
import os

_M_MMAP_THRESHOLD = -3  # malloc.h
_OCTETS = 128 * 1024


def give_back_large_blocks() -> None:
    """Fix the bound, unless the environment sets one; does nothing where there is no glibc."""
    if "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return
    try:
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _OCTETS)
    except (OSError, AttributeError):
        return

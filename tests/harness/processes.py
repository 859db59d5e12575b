"""What processes cost, read from /proc: CPU time, memory, descriptors; of one or of a tree."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """CPU seconds (also of children that have ended and were waited for), peak memory in bytes,
    descriptors.
    """

    cpu: float = 0.0
    peak: int = 0
    resident: int = 0
    mapped: int = 0  # of the address space
    descriptors: int = 0

    def __add__(self, other: Cost) -> Cost:
        """Add up two processes."""
        return Cost(
            cpu=self.cpu + other.cpu,
            peak=self.peak + other.peak,
            resident=self.resident + other.resident,
            mapped=self.mapped + other.mapped,
            descriptors=self.descriptors + other.descriptors,
        )


def cost(pid: int) -> Cost:
    """Read one process; nothing of one that is gone."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        status = (_PROC / str(pid) / "status").read_text()
    except OSError:
        return Cost()
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    descriptors = 0
    with contextlib.suppress(OSError):
        descriptors = len(os.listdir(_PROC / str(pid) / "fd"))  # noqa: PTH208 - names only
    return Cost(
        cpu=sum(int(x) for x in stat[11:15]) / _TICKS,
        peak=_kilobytes(fields.get("VmHWM")),
        resident=_kilobytes(fields.get("VmRSS")),
        mapped=_kilobytes(fields.get("VmSize")),
        descriptors=descriptors,
    )


def tree(root: int) -> list[int]:
    """Give a process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def cost_of_tree(root: int) -> Cost:
    """Add up a process and all that descend from it."""
    return total(tree(root))


def total(pids: Iterable[int]) -> Cost:
    """Add up processes."""
    return sum((cost(pid) for pid in pids), Cost())


def alive(pid: int) -> bool:
    """Tell whether a process runs (a zombie does not)."""
    try:
        state = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def _kilobytes(text: str | None) -> int:
    return int(text.split()[0]) * 1024 if text else 0

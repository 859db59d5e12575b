"""Memory of large blocks goes back to the system, also when small ones lie behind them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_PROGRAM = """
import sys
from relay.process.allocation import give_back_large_blocks
if sys.argv[1] == "set":
    give_back_large_blocks()
large = bytes(24 << 20)
del large  # from here on blocks below 24 MiB would come from the heap
mixed = [(bytearray(200_000), bytearray(2_000)) for _ in range(300)]
small = [few for _, few in mixed]
del mixed
with open("/proc/self/statm") as said:
    print(int(said.read().split()[1]) * 4096 >> 20)
"""


def _resident(how: str) -> int:
    """Give the megabytes left when 60 MB of large blocks are free."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    command = [sys.executable, "-c", _PROGRAM, how]
    return int(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is meant")
def test_large_blocks_are_given_back() -> None:
    """The control is the same without."""
    assert _resident("leave") > _resident("set") + 40

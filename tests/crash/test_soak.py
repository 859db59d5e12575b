"""L06 in small: connections come and go for some minutes, and nothing grows. `python -m bench.soak`
does the same for as long as one likes. The control leaks a descriptor per message.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.crash_stage import CrashStage
from tests.harness.soak import Held, grown, soak

pytestmark = pytest.mark.timeout(600)


@pytest.mark.long
@pytest.mark.parametrize(("broken", "grows"), [("", []), ("leak-descriptors", ["descriptors"])])
async def test_what_a_relay_holds_does_not_grow(
    tmp_path: Path, broken: str, grows: list[str]
) -> None:
    rounds = 4 if broken else 12
    async with CrashStage(tmp_path / "run", broken=broken, passwordless=True) as stage:
        rows = [row async for row in soak(stage, rounds, 50)]
        verdict = await stage.verdict(duplicates=0)
    assert [said.split(" ")[0] for said in grown(rows)] == grows
    assert verdict.broken == []


def held(**values: int) -> Held:
    """Give figures, all zero but those named."""
    names = ("connections", "worker_bytes", "control_bytes", "descriptors", "tasks", "wal_bytes")
    return Held(**{name: values.get(name, 0) for name in names})


def test_what_grows_slowly_is_named_what_moves_up_and_down_is_not() -> None:
    assert grown([held(tasks=10 + n % 7) for n in range(12)]) == []
    assert grown([held(tasks=10 + 2 * n) for n in range(12)]) == ["tasks went from 16 to 26"]
    assert grown([held(wal_bytes=1 << 27)] * 3) == [f"write-ahead logs had {1 << 27} octets"]

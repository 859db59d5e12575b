"""The power goes at any moment and takes what was not synced (P02): nothing promised is lost.

The control runs the same spool without syncs and must lose mail, or the simulation is blind.
"""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.power_cut import TRACE, Disk
from tests.harness.programs import need_program
from tests.harness.spool_promises import ROOT, Promises, broken_promises


def traced(path: Path, seed: int, count: int, *more: str) -> Disk:
    """Let the child work on a new spool, with a record of what it did to the disk."""
    log = path / "trace"
    subprocess.run(
        [
            need_program("strace"), "-o", str(log), *TRACE,
            sys.executable, "-m", "tests.harness.spool_child",
            str(path / "spool"), str(seed), str(count), *more,
        ],
        cwd=ROOT, stdout=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    return Disk(log.read_text(), path / "spool")


async def cuts(disk: Disk, path: Path, seed: int, number: int) -> tuple[int, list[str]]:
    """Cut the power so many times; gives the acknowledgements at stake and what was broken."""
    dice = random.Random(seed)  # noqa: S311 - a repeatable choice
    acked, broken = 0, []
    for n in range(number):
        cut = dice.randrange(disk.length)
        image = path / f"cut{n}"
        disk.write_image(image, cut, dice)
        promises = Promises()
        promises.hear(disk.said(cut))
        acked += len(promises.acked)
        if promises.tried or promises.last:
            broken += [f"cut at {cut}: {what}" for what in await broken_promises(image, promises)]
    return acked, broken


@pytest.mark.timeout(240)
async def test_a_power_cut_takes_nothing_that_was_promised(tmp_path: Path) -> None:
    disk = traced(tmp_path, 1, 60)
    acked, broken = await cuts(disk, tmp_path, 1, 30)
    assert acked > 300
    assert broken == []


@pytest.mark.timeout(240)
async def test_without_syncs_a_power_cut_takes_mail(tmp_path: Path) -> None:
    disk = traced(tmp_path, 2, 60, "nosync")
    _, broken = await cuts(disk, tmp_path, 2, 15)
    assert any("lost" in what or "cannot be" in what for what in broken)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(10, 20))
async def test_many_power_cuts(tmp_path: Path, seed: int) -> None:
    disk = traced(tmp_path, seed, 120)
    acked, broken = await cuts(disk, tmp_path, seed, 200)
    assert acked
    assert broken == []

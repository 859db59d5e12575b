"""The way of a command to control: a ledger that is held for a moment is waited for."""

from __future__ import annotations

import argparse
import fcntl
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from relay.cli import door
from relay.ledger.engine import LedgerBusyError


@pytest.fixture
def options(tmp_path: Path) -> argparse.Namespace:
    """Settings of a relay that does not run."""
    file = tmp_path / "waypost.toml"
    file.write_text(f'[node]\ndata_dir = "{tmp_path / "var"}"\n', encoding="utf-8")
    return argparse.Namespace(config=file)


def test_a_ledger_that_is_let_go_is_taken(
    options: argparse.Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "var").mkdir()
    held = (tmp_path / "var" / "ledger.sqlite.lock").open("w")
    fcntl.flock(held, fcntl.LOCK_EX)
    looks = []

    def let_go(seconds: float) -> None:
        looks.append(seconds)
        held.close()

    monkeypatch.setattr(door, "time", SimpleNamespace(monotonic=time.monotonic, sleep=let_go))
    with door.open_door(options) as opened:
        assert opened.pages("/accounts") == []
    assert len(looks) == 1


def test_a_ledger_that_is_never_let_go_is_an_error(
    options: argparse.Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "var").mkdir()
    clock = iter(range(1000))
    monkeypatch.setattr(
        door, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda _seconds: None)
    )
    with (tmp_path / "var" / "ledger.sqlite.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(LedgerBusyError, match="in use"), door.open_door(options):
            pass

"""Two installations never work in one data directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from relay.errors import ConfigError
from relay.layout import Layout
from relay.process.hold import data_directory


def test_a_second_one_is_told_who_is_there(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "var")
    with (
        data_directory(layout),
        pytest.raises(ConfigError, match=rf"in use by another Waypost \(process {os.getpid()}\)"),
        data_directory(layout, wait_seconds=0),
    ):
        pass
    with data_directory(layout, wait_seconds=0):
        assert (layout.run / "lock").stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file")
    with (
        pytest.raises(ConfigError, match=r"node\.data_dir: .*/var cannot be used: File exists"),
        data_directory(Layout(tmp_path / "var")),
    ):
        pass

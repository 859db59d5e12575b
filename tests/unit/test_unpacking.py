"""`.ci/mtas` empties only what it made itself."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "mtas"
MARK = ".unpacked-mail-servers"


def run(folder: Path, programs: Path) -> subprocess.CompletedProcess[str]:
    """Run the script with packages that cannot be fetched."""
    apt = programs / "apt-get"
    apt.write_text("#!/bin/sh\nexit 7\n")
    apt.chmod(0o755)
    return subprocess.run(
        [SCRIPT, folder],
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("kind", ["folder", "link", "file"])
def test_what_somebody_else_made_is_refused_and_untouched(tmp_path: Path, kind: str) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    kept = theirs / "kept"
    kept.write_text("precious")
    given = {"folder": theirs, "link": tmp_path / "link", "file": kept}[kind]
    if kind == "link":
        given.symlink_to(theirs)
    (tmp_path / "bin").mkdir()
    found = run(given, tmp_path / "bin")
    assert found.returncode == 1
    assert "was not made by this script" in found.stderr
    assert kept.read_text() == "precious"


@pytest.mark.parametrize("kind", ["new", "empty", "ours"])
def test_a_folder_of_its_own_is_made_anew(tmp_path: Path, kind: str) -> None:
    """The control: it gets as far as fetching."""
    ours = tmp_path / "ours"
    if kind != "new":
        ours.mkdir()
    if kind == "ours":
        (ours / MARK).touch()
        (ours / "old").touch()
    (tmp_path / "bin").mkdir()
    assert run(ours, tmp_path / "bin").returncode == 7
    assert [path.name for path in ours.iterdir()] == [MARK]

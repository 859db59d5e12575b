"""Outside programs that tests talk to: found, or the test skips visibly.

With WAYPOST_TEST_REQUIRE_ALL set (as in CI) a missing program fails the test instead.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def need_program(name: str) -> str:
    """Give the path of a program; skips or fails the calling test when it is not installed."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")
    if found is None:
        lacking(f"{name} is not installed")
    return found


def need_file(path: Path) -> str:
    """Give the path of something a package installs; skips or fails the calling test without it."""
    if not path.exists():
        lacking(f"{path} is not installed")
    return str(path)


def lacking(what: str) -> NoReturn:
    """Skip the calling test, or fail it where everything must be there."""
    if os.environ.get("WAYPOST_TEST_REQUIRE_ALL"):
        pytest.fail(what)
    pytest.skip(what)

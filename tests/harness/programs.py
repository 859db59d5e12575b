"""Outside programs that tests talk to: found, or the test skips visibly.

With WAYPOST_TEST_REQUIRE_ALL set (as in CI) a missing program fails the test instead.
"""

from __future__ import annotations

import os
import shutil

import pytest


def need_program(name: str) -> str:
    """Give the path of a program; skips or fails the calling test when it is not installed."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")
    if found is None:
        if os.environ.get("WAYPOST_TEST_REQUIRE_ALL"):
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return found

"""aiosmtpd's own tests run against our session; every difference is known and has its reason."""

from __future__ import annotations

import asyncio
import re
import sys
import tomllib
from pathlib import Path

import aiosmtpd
import pytest

ROOT = Path(__file__).parents[2]
SUITE = Path(aiosmtpd.__file__).parent / "tests" / "test_smtp.py"
DIFFERENCES = ROOT / "tests" / "data" / "aiosmtpd_differences.toml"


async def run_suite() -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "-W", "ignore", "--tb=no"),
        *("-p", "tests.harness.aiosmtpd_plug", "-p", "no:cacheprovider", "-o", "timeout=5"),
        *("--rootdir", str(SUITE.parent), "-rfE", str(SUITE)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return output.decode("utf-8", "replace")


@pytest.mark.timeout(180)
@pytest.mark.skipif(not SUITE.exists(), reason="this aiosmtpd comes without its tests")
async def test_suite_differs_only_where_intended() -> None:
    output = await run_suite()
    passed = re.search(r"(\d+) passed", output)
    assert passed is not None, output[-2000:]
    assert int(passed.group(1)) >= 130

    failed = set(re.findall(r"^(?:FAILED|ERROR) \S*test_smtp\.py::(\S+)", output, re.MULTILINE))
    differences = tomllib.loads(DIFFERENCES.read_text())["difference"]
    patterns = [pattern for each in differences for pattern in each["tests"]]
    assert [test for test in sorted(failed) if not test.startswith(tuple(patterns))] == []

    needed = [p for each in differences if not each.get("may") for p in each["tests"]]
    unused = [p for p in needed if not any(test.startswith(p) for test in failed)]
    assert unused == []

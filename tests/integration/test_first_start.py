"""What somebody sees who starts Waypost for the first time, and what a wrong setting says."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness.processes import alive, tree
from tests.harness.programs import need_program
from tests.harness.relay_under_test import ROOT, RelayUnderTest

pytestmark = pytest.mark.timeout(120)


def waypost(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in `folder`."""
    return subprocess.run(
        [sys.executable, "-m", "relay", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def started(relay: RelayUnderTest) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start `waypost run` and give it with what it printed until it was ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "relay", "--config", str(relay.config), "run"],
        cwd=relay.directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        printed = ""
        assert process.stdout is not None
        for line in process.stdout:
            printed += line
            if not line.strip():
                break
        yield process, printed
    finally:
        children = tree(process.pid)
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
        for pid in children:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        if process.stdout is not None:
            process.stdout.close()
        process.wait()


def test_the_first_start_says_where_and_how_and_the_line_it_prints_sends(tmp_path: Path) -> None:
    need_program("curl")
    relay = RelayUnderTest(tmp_path)
    with started(relay) as (process, printed):
        assert "Waypost is ready" in printed
        assert str(relay.ports["submission"]) in printed
        assert re.search(r"password [a-z2-7]{32} ", printed)
        line = printed[printed.index("printf") :]
        sent = subprocess.run(["sh", "-c", line], capture_output=True, check=False, timeout=60)
        assert sent.returncode == 0, sent.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0
    with started(relay) as (_, again):
        assert "Waypost is ready" in again
        assert "password" not in again
    assert (tmp_path / "var").stat().st_mode & 0o077 == 0


def test_a_second_sigterm_stops_at_once_and_leaves_nobody(tmp_path: Path) -> None:
    with started(RelayUnderTest(tmp_path)) as (process, _):
        children = tree(process.pid)
        assert len(children) >= 3
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        assert not any(alive(pid) for pid in children)


def test_children_of_a_killed_supervisor_end_by_themselves(tmp_path: Path) -> None:
    with started(RelayUnderTest(tmp_path)) as (process, _):
        children = [pid for pid in tree(process.pid) if pid != process.pid]
        process.kill()
        process.wait()
        deadline = time.monotonic() + 30
        while any(alive(pid) for pid in children):
            assert time.monotonic() < deadline, "children outlive their supervisor"
            time.sleep(0.1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[submission]\nlisen = 'x'", "submission.lisen: there is no such setting"),
        ("[node]\nworkers = 'many'", "node.workers: expected `int`, got `str`"),
        ('[delivery]\nmode = "smarthost"', "delivery.smarthost: expected"),
        ('[submission]\nlisten = "198.51.100.1:25"', "cannot listen on 198.51.100.1:25"),
    ],
)
def test_a_setting_that_cannot_work_stops_the_start(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "waypost.toml").write_text(text, encoding="utf-8")
    done = waypost(tmp_path, "run")
    assert done.returncode == 78
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "var" / "ledger.sqlite").exists()


def test_check_prints_the_settings_in_force_without_secrets(tmp_path: Path) -> None:
    done = waypost(
        tmp_path, "check", WAYPOST_LEDGER_URL="postgresql://w:hush@127.0.0.1/w",
        WAYPOST_NODE_WORKERS="3",
    )  # fmt: skip
    assert done.returncode == 0
    assert "workers = 3" in done.stdout
    assert "hush" not in done.stdout
    assert waypost(tmp_path, "check", "--json").stdout.startswith("{")
    wrong = waypost(tmp_path, "check", WAYPOST_NODE_WORKRES="3")
    assert wrong.returncode == 78
    assert "WAYPOST_NODE_WORKRES is not a setting" in wrong.stderr


async def test_the_demo_holds(tmp_path: Path) -> None:
    keep = tmp_path / "kept"
    done = await asyncio.to_thread(
        waypost, tmp_path, "demo", "--messages", "40", "--json", "--keep", str(keep)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"report_equals_played": true' in done.stdout
    assert '"ledger_agrees": true' in done.stdout
    assert {path.name for path in keep.iterdir()} == {
        "submitted", "submitted.jsonl", "received", "received.jsonl", "played.jsonl",
    }  # fmt: skip

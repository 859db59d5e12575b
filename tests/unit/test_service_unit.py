"""The systemd unit agrees with the code: how long stopping takes, which status ends it for good,
what it may write, and that nothing is left open that could be closed.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from relay.cli.main import build_parser
from relay.config import Config
from relay.config_file import load
from relay.errors import EXIT_CONFIG
from relay.process import supervisor
from tests.harness.crash_stage import UNTRACKED, CrashStage
from tests.harness.mails import Mix, mails
from tests.harness.programs import need_program

UNIT = Path(__file__).parents[2] / "deploy" / "waypost.service"
EXPOSURE = 15  # tenths; what is left is the network and binding to low ports


def lines(key: str) -> list[str]:
    """Give the values of a directive, in order."""
    return re.findall(rf"(?m)^{key}=(.*)$", UNIT.read_text(encoding="utf-8"))


def value(key: str) -> str:
    """Give the only value of a directive."""
    (found,) = lines(key)
    return found


def test_it_starts_what_there_is() -> None:
    _, dash_m, module, *arguments = shlex.split(value("ExecStart"))
    assert [dash_m, module] == ["-m", "relay"]
    options = build_parser().parse_args(arguments)
    assert str(options.config) == f"/etc/{value('ConfigurationDirectory')}/waypost.toml"
    environment = dict(pair.split("=", 1) for pair in shlex.split(value("Environment")))
    ours = {name: text for name, text in environment.items() if name.startswith("WAYPOST_")}
    assert str(load(None, ours).data_dir) == f"/var/lib/{value('StateDirectory')}"


def test_it_waits_for_the_drain_and_signals_the_supervisor_alone() -> None:
    assert int(value("TimeoutStopSec")) > supervisor._DRAIN_SECONDS + 5
    assert value("KillMode") == "mixed"
    assert value("ExecReload").startswith("/bin/kill -HUP ")


def test_only_what_a_restart_cannot_mend_ends_it() -> None:
    assert value("Restart") == "always"
    assert int(value("RestartPreventExitStatus")) == EXIT_CONFIG


def test_descriptors_suffice_for_the_connections_that_are_allowed() -> None:
    config = Config()
    outgoing = config.delivery.connections * 100
    assert int(value("LimitNOFILE")) > config.submission.max_connections * 2 + outgoing


def test_a_start_that_waits_for_the_ledger_is_no_failure() -> None:
    assert value("Type") == "notify"
    assert value("TimeoutStartSec") == "infinity"


def test_the_doors_that_systemd_holds_are_those_of_the_settings() -> None:
    text = UNIT.with_suffix(".socket").read_text(encoding="utf-8")
    config = Config()
    submission = config.submission
    doors = {submission.listen, submission.tls_listen, submission.plain_listen}
    doors |= {config.inbound.listen, config.tracking.listen, config.admin.listen}
    assert set(re.findall(r"(?m)^ListenStream=(.*)$", text)) == doors - {""}


def test_files_it_makes_are_its_own() -> None:
    assert value("UMask") == "0077"
    assert value("StateDirectoryMode") == "0700"


def test_systemd_reads_it_and_finds_little_exposed() -> None:
    analyze = need_program("systemd-analyze")
    said = subprocess.run(
        [analyze, "verify", str(UNIT)], capture_output=True, text=True, check=False
    )
    complaints = [line for line in said.stderr.splitlines() if "is not executable" not in line]
    assert complaints == []
    threshold = [f"--threshold={EXPOSURE}", "--offline=true", "--no-pager"]
    judged = subprocess.run(
        [analyze, "security", *threshold, str(UNIT)], capture_output=True, text=True, check=False
    )
    assert judged.returncode == 0, judged.stdout[-2000:]


@pytest.mark.parametrize(
    "directive",
    [
        "NoNewPrivileges", "PrivateDevices", "PrivateTmp", "ProtectHome", "RestrictSUIDSGID",
        "ProtectKernelTunables", "MemoryDenyWriteExecute", "LockPersonality", "RestrictRealtime",
    ],
)  # fmt: skip
def test_what_is_not_needed_is_closed(directive: str) -> None:
    assert value(directive) == "yes"


def allowed_calls() -> set[str]:
    """Give the system calls that the unit's filter lets through."""
    analyze = need_program("systemd-analyze")

    def members(group: str) -> set[str]:
        if not group.startswith("@"):
            return {group}
        said = subprocess.run(
            [analyze, "--no-pager", "syscall-filter", group],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        names = {line.strip() for line in said.stdout.splitlines()[1:]} - {""}
        nested = {name for name in names if name.startswith("@")}
        plain = {name for name in names if not name.startswith(("@", "#"))}
        return plain.union(*(members(name) for name in nested))

    allowed: set[str] = set()
    for value_ in lines("SystemCallFilter"):
        for group in value_.lstrip("~").split():
            allowed = allowed - members(group) if value_[0] == "~" else allowed | members(group)
    return allowed


@pytest.mark.long
async def test_a_running_relay_uses_what_is_allowed_and_writes_where_it_may(
    tmp_path: Path,
) -> None:
    """Every system call of all processes, from the start to the end, with mail in between."""
    trace = tmp_path / "trace"
    prefix = (need_program("strace"), "-f", "-qq", "-s", "300", "-o", str(trace))
    async with CrashStage(tmp_path / "run", prefix=prefix) as stage:
        await stage.drive(mails("m", 10, seed=1, mix=Mix(sending_domain=UNTRACKED)))
        verdict = await stage.verdict(duplicates=0)
    assert verdict.findings.lost == []
    used, written = set(), set()
    with trace.open(encoding="utf-8", errors="replace") as calls:
        for line in calls:
            if found := re.match(r"\d+ +(?:<\.\.\. )?([a-z0-9_]+)[( ]", line):
                used.add(found[1])
            if found := re.search(r'open(?:at)?\(.*?"([^"]+)", [^)]*O_(?:WRONLY|RDWR|CREAT)', line):
                written.add(found[1])
            for call in ("mmap", "mprotect"):
                assert not re.search(rf"\b{call}\(.*PROT_WRITE\|PROT_EXEC", line), line
    as_root = {"fchown"} if os.geteuid() == 0 else set()  # SQLite then keeps the owner of a file
    assert used - allowed_calls() - as_root == set()
    own = (str(stage.relay.data_dir), "/dev/", "/proc/")
    assert {path for path in written if not path.startswith(own)} == set()

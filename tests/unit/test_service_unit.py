"""The systemd unit agrees with the code: how long stopping takes, which status ends it for good,
what it may write, and that nothing is left open that could be closed.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from relay.cli.main import build_parser
from relay.config import Config, load
from relay.errors import EXIT_CONFIG
from relay.process import supervisor
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

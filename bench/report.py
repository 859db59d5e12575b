"""The table: medians, spread, ratios to the peer of the same run, and where it was measured."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.cases import CASES, CONNECTIONS, Case
from bench.measure import Run

PEER = "Postfix"
SIGNING_PEER = "Postfix with opendkim"
_HEAD = (
    "| case | who | messages/s | spread | ratio | CPU ms per message | spread | ratio | peak MB |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def report(runs: Sequence[Run], stages: dict[str, str]) -> str:
    """Write the report in Markdown."""
    parts = [
        "# Measured",
        _where(),
        f"{CONNECTIONS} connections kept open, smtp-sink as next hop on loopback, queues durable, "
        "contenders interleaved. Ratios are to Postfix without a milter in the same run. CPU is "
        "that of all processes of the contender until nothing was left to do (for Waypost: until "
        "the ledger had counted every delivery).",
        _table(runs),
        _beside_signing(runs),
        _spread(runs),
        _loaders(runs),
        *(f"## {name}\n\n```text\n{text.rstrip()}\n```" for name, text in stages.items()),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def median(runs: Sequence[Run], figure: Callable[[Run], float]) -> float:
    """Give the median of a figure."""
    return statistics.median(figure(run) for run in runs)


def _table(runs: Sequence[Run]) -> str:
    lines = [_HEAD]
    for case in CASES:
        of_case = [run for run in runs if run.case == case.name]
        peer = [run for run in of_case if run.contender == PEER]
        for name in dict.fromkeys(run.contender for run in of_case):
            own = [run for run in of_case if run.contender == name]
            lines.append(_row(case, name, own, peer))
    return "\n".join(lines)


def _beside_signing(runs: Sequence[Run]) -> str:
    """Give throughput and CPU as ratios to the peer that signs as well, where it was measured."""
    lines = [f"Beside {SIGNING_PEER}, which signs the same mail and tracks nothing:", ""]
    for case in CASES:
        of_case = [run for run in runs if run.case == case.name]
        peer = [run for run in of_case if run.contender == SIGNING_PEER]
        for name in dict.fromkeys(run.contender for run in of_case if peer):
            own = [run for run in of_case if run.contender == name]
            if name not in (PEER, SIGNING_PEER):
                rate = median(own, _rate) / median(peer, _rate)
                cpu = median(own, _cpu) / median(peer, _cpu)
                lines.append(f"- {case.name}, {name}: throughput {rate:.2f}, CPU {cpu:.2f}")
    return "\n".join(lines) if len(lines) > 2 else ""


def _row(case: Case, name: str, own: Sequence[Run], peer: Sequence[Run]) -> str:
    rate, cpu = median(own, _rate), median(own, _cpu)
    ratios = ("", "")
    if peer and name != PEER:
        ratios = (f"{rate / median(peer, _rate):.2f}", f"{cpu / median(peer, _cpu):.2f}")
    return (
        f"| {case.name} | {name} | {rate:.0f} | {_range(own, _rate, 0)} | {ratios[0]} "
        f"| {cpu:.2f} | {_range(own, _cpu, 2)} | {ratios[1]} "
        f"| {max(run.peak for run in own) / 1e6:.0f} |"
    )


def _rate(run: Run) -> float:
    return run.rate


def _cpu(run: Run) -> float:
    return run.cpu_ms


def _range(runs: Sequence[Run], figure: Callable[[Run], float], digits: int) -> str:
    found = [figure(run) for run in runs]
    return f"{min(found):.{digits}f}-{max(found):.{digits}f}"


def _spread(runs: Sequence[Run]) -> str:
    """Say how the work fell on the children, per message."""
    lines = ["## CPU ms per message by process", "", "| case | who | by process |", "|---|---|---|"]
    for case in CASES:
        for name in dict.fromkeys(run.contender for run in runs):
            own = [r for r in runs if r.case == case.name and r.contender == name and r.shares]
            if own:
                last = own[-1]
                by = (f"{n} {cpu / last.messages * 1000:.2f}" for n, cpu in last.shares.items())
                lines.append(f"| {case.name} | {name} | {', '.join(by)} |")
    return "\n".join(lines) if len(lines) > 4 else ""


def _loaders(runs: Sequence[Run]) -> str:
    own = [run for run in runs if run.load_cpu]
    if not own:
        return ""
    used = statistics.median(run.load_cpu / run.messages * 1000 for run in own)
    return (
        f"The load generator `bench.load` itself takes {used:.3f} ms of CPU per message (median)."
    )


def _where() -> str:
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return (
        f"{os.cpu_count()} cores, {model}; {platform.system()} {platform.release()}; "
        f"Python {platform.python_version()}; Postfix {_postfix_version()}; "
        f"load average at the end {os.getloadavg()[0]:.1f}."
    )


def _postfix_version() -> str:
    try:
        said = subprocess.run(
            ["/usr/sbin/postconf", "-d", "-h", "mail_version"],
            capture_output=True, text=True, timeout=10, check=False,
        )  # fmt: skip
    except OSError:
        return "not installed"
    return said.stdout.strip()

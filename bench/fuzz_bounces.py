"""Fuzz the readers of bounces: no bytes raise, and none take long.

    python bench/fuzz_bounces.py [--seconds 60] [CORPUS_FOLDER]

Coverage-guided (atheris) over whole mails, with the fixtures of the tests as seeds, and over SMTP
replies. A run ends after the given time with status 0; an exception, or a mail that takes more than
five seconds, ends it with the input shown. Bounded: memory by the input size, time by `--seconds`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-untyped]  # ships no types

with atheris.instrument_imports(include=["bounces", "relay.mail"]):
    from bounces.classify import classify_line
    from bounces.linking import conclude
    from bounces.read import read
    from bounces.report import MAX_DIAGNOSTIC, MAX_RECORDS

ROOT = Path(__file__).parents[1]
SEEDS = ROOT / "tests" / "unit" / "bounces" / "mails"
MAX_INPUT = 64 * 1024


def one_input(data: bytes) -> None:
    """Read one input as a mail and as a reply, and check what is promised of any."""
    report = read(data)
    if len(report.records) > MAX_RECORDS:
        raise AssertionError(f"{len(report.records)} records, expected {MAX_RECORDS} at most")
    for record in report.records:
        if len(record.diagnostic) > MAX_DIAGNOSTIC or "\n" in record.diagnostic:
            raise AssertionError(f"diagnostic out of bounds: {record.diagnostic!r}")
    if conclude(report, None).suppress:
        raise AssertionError("a report that was not linked suppressed somebody")
    judged = classify_line(data[:2000].decode("utf-8", "replace"))
    if judged.recipient == "suppress" and judged.category != "hard":
        raise AssertionError(f"suppressed without a hard category: {judged}")


def main() -> None:
    """Run the fuzzer for a bounded time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("corpus", nargs="?", help="a folder to keep interesting inputs in")
    arguments = parser.parse_args()
    folder = arguments.corpus or tempfile.mkdtemp(prefix="fuzz-bounces-")
    command = [
        sys.argv[0],
        f"-max_total_time={arguments.seconds}",
        f"-max_len={MAX_INPUT}",
        "-timeout=5",
        "-rss_limit_mb=1024",
        f"-artifact_prefix={folder}/",
        folder,
        str(SEEDS),
    ]
    atheris.Setup(command, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

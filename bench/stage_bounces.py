"""How many bounces a process reads per second, beside the standard library on the same mails.

    python bench/stage_bounces.py [FOLDER] [--rounds 3]

FOLDER holds mails (searched with its sub-folders), by default the fixtures of the tests. Prints
mails per second of processor time, the best of the rounds, for our reader and for the parser of the
standard library's `email` in the same run, and the slowest single mail.
"""

from __future__ import annotations

import argparse
import email
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bounces.classify import classify_line
from bounces.read import read

ROOT = Path(__file__).parents[1]
FIXTURES = ROOT / "tests" / "unit" / "bounces" / "mails"
REPLY = "550 5.1.1 <ann@inbox.test>: Recipient address rejected: User unknown in virtual table"


def best(rounds: int, work: Callable[[bytes], object], mails: Sequence[bytes]) -> float:
    """Give mails per second of processor time in the best round."""
    spent = []
    for _ in range(rounds):
        started = time.process_time()
        for mail in mails:
            work(mail)
        spent.append(time.process_time() - started)
    return len(mails) / min(spent)


def slowest(mails: Sequence[bytes]) -> float:
    """Give the longest time one mail took, in milliseconds."""
    longest = 0.0
    for mail in mails:
        started = time.perf_counter()
        read(mail)
        longest = max(longest, time.perf_counter() - started)
    return longest * 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=FIXTURES)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    files = [f for f in sorted(arguments.folder.rglob("*")) if f.is_file() and f.suffix != ".json"]
    mails = [f.read_bytes() for f in files]
    size = sum(map(len, mails)) / max(len(mails), 1)
    ours = best(arguments.rounds, read, mails)
    theirs = best(arguments.rounds, email.message_from_bytes, mails)
    replies = best(arguments.rounds, lambda _: classify_line(REPLY), mails * 10)
    print(f"{len(mails)} mails of {size:.0f} bytes on average")
    print(f"bounces.read        {ours:8.0f} mails/s   {1e6 / ours:7.0f} us each")
    print(f"email (parse only)  {theirs:8.0f} mails/s   {1e6 / theirs:7.0f} us each")
    print(f"classify_line       {replies:8.0f} replies/s")
    print(f"slowest mail        {slowest(mails):8.1f} ms")


if __name__ == "__main__":
    main()

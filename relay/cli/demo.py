"""`waypost demo`: the whole relay at work on this machine, with the sum at the end."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.cli.registry import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "demo", help="send, track, bounce and count on this machine, and compare the numbers"
    )
    parser.add_argument("--messages", type=int, default=300, help="how many mails (default 300)")
    parser.add_argument("--workers", type=int, default=2, help="data-plane processes (default 2)")
    parser.add_argument("--seed", type=int, default=1, help="other mails for another seed")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="leave what was submitted, received and played"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Play the demo."""
    from relay.cli.door import open_door
    from relay.demo.show import Wish, show

    if not 1 <= options.messages <= 100_000:
        print("waypost demo: --messages: expected 1 to 100000")
        return 2
    return show(
        Wish(
            messages=options.messages,
            seed=options.seed,
            workers=options.workers,
            keep=options.keep,
            as_json=options.json,
        ),
        lambda config: open_door(argparse.Namespace(config=str(config))),
    )

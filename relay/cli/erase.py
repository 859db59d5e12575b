"""`waypost erase`: take a recipient out of everything but the numbers."""

from __future__ import annotations

import argparse

from relay.cli.door import open_door
from relay.cli.output import add_json, record
from relay.cli.registry import Commands


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "erase", help="erase a recipient everywhere; numbers and suppressions stay"
    )
    parser.add_argument("recipient")
    add_json(parser)
    parser.set_defaults(run=_erase)


def _erase(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        record(options, door.ask("POST", "/erasures", {"recipient": options.recipient}))

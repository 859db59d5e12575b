"""`waypost sums`: do events, rows, cubes and counters agree? Exit status 1 if they do not."""

from __future__ import annotations

import argparse

from relay.cli.door import open_door
from relay.cli.output import add_json, as_json, safe
from relay.cli.registry import Commands


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("sums", help="count everything anew and name every difference")
    add_json(parser)
    parser.set_defaults(run=_sums)


def _sums(options: argparse.Namespace) -> int:
    with open_door(options) as door:
        found = door.ask("GET", "/sums")
    if options.json:
        as_json(found)
    elif found["hold"]:
        print("All sums hold.")
    for line in found["differences"] if not options.json else ():
        print(safe(line))
    return 0 if found["hold"] else 1

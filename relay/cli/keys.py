"""`waypost keys`: the keys that sign links and return paths."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from relay.cli.door import open_door
from relay.cli.output import add_json, table

if TYPE_CHECKING:
    from relay.cli.registry import Commands


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("keys", help="keys that sign links and return paths")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    one = verbs.add_parser("list", help="list the keys")
    add_json(one)
    one.set_defaults(run=_list)
    one = verbs.add_parser("rotate", help="add a fresh key that signs from now on")
    add_json(one)
    one.set_defaults(run=_rotate)


def _list(options: argparse.Namespace) -> None:
    _show(options, "GET", "/keys")


def _rotate(options: argparse.Namespace) -> None:
    _show(options, "POST", "/keys/rotate")


def _show(options: argparse.Namespace, method: str, path: str) -> None:
    with open_door(options) as door:
        found = door.ask(method, path)["items"]
    table(options, found, "id signs")

"""`waypost brakes`: complaint and bounce rates of sending domains, and who is warned or stopped."""

from __future__ import annotations

import argparse

from relay.cli.door import open_door
from relay.cli.output import add_json, table
from relay.cli.registry import Commands


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("brakes", help="complaint and bounce rates of sending domains")
    parser.add_argument("--account", help="name or id")
    add_json(parser)
    parser.set_defaults(run=_show)


def _show(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        account = door.account(options.account)
        found = door.ask("GET", "/brakes", query={"account": account})["items"]
    table(options, found, "account sending_domain kind rate count of level")

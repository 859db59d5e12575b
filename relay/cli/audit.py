"""`waypost audit`: who changed what."""

from __future__ import annotations

import argparse

from relay.cli.door import open_door
from relay.cli.output import add_json, table
from relay.cli.registry import Commands


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("audit", help="who changed what, newest first")
    parser.add_argument("--account", help="name or id")
    parser.add_argument("--action", help='such as "tracking.set"')
    parser.add_argument("--subject")
    parser.add_argument("--recipient", help="changes of suppressions of this address")
    parser.add_argument("--most", type=int, default=50, help="how many lines (default 50)")
    add_json(parser)
    parser.set_defaults(run=_list)


def _list(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        asked = {
            "account": door.account(options.account),
            "action": options.action,
            "subject": options.subject,
            "recipient": options.recipient,
        }
        found = door.pages("/audit", asked, most=options.most)
    table(options, found, "at actor action account subject")

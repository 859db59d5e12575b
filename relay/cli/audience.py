"""`waypost audience`: who of a campaign's recipients opened, clicked, bounced ..., as CSV."""

from __future__ import annotations

import argparse
import sys

from relay.cli.door import open_door
from relay.cli.output import add_json, as_json
from relay.cli.registry import Commands

_GROUPS = (
    "opened",
    "clicked",
    "neither",
    "machine-only",
    "delivered",
    "bounced",
    "bounced-hard",
    "unsubscribed",
    "complained",
    "excluded",
)


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("audience", help="who opened, clicked, bounced ...: CSV")
    parser.add_argument("campaign")
    parser.add_argument("group", choices=_GROUPS)
    parser.add_argument("--account", required=True, help="name or id")
    parser.add_argument("--domain", help="only this sending domain")
    parser.add_argument("--everybody", action="store_true", help="machines' opens and clicks too")
    add_json(parser)
    parser.set_defaults(run=_audience)


def _audience(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        query = {
            "account": door.account(options.account),
            "campaign": options.campaign,
            "group": options.group,
            "sending_domain": options.domain,
            "everybody": "true" if options.everybody else None,
        }
        if options.json:
            as_json(door.pages("/audience", query))
            return
        for piece in door.stream("/audience.csv", query):
            sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()

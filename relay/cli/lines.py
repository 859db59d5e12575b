"""The two commands on lists of lines: `waypost block` and `waypost pause`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from relay.cli.door import open_door
from relay.cli.output import add_json, record, table
from relay.cli.registry import Commands

_COLUMNS = "id account kind value reason created_at"


def add_list_command(
    commands: Commands, name: str, meaning: str, path: str, kinds: Sequence[str]
) -> None:
    """Add a command with the verbs list, add and remove."""
    parser = commands.add_parser(name, help=meaning)
    parser.set_defaults(path=path)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    one = verbs.add_parser("list", help="list the lines")
    one.add_argument("--account", help="name or id")
    add_json(one)
    one.set_defaults(run=_list)

    one = verbs.add_parser("add", help="add a line")
    one.add_argument("kind", choices=kinds)
    one.add_argument("value", nargs="?", default="", help="its name, or a URL")
    one.add_argument("--account", help="name or id")
    one.add_argument("--reason", default="")
    add_json(one)
    one.set_defaults(run=_add)

    one = verbs.add_parser("remove", help="remove a line")
    one.add_argument("id", type=int)
    add_json(one)
    one.set_defaults(run=_remove)


def _list(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        found = door.pages(options.path, {"account": door.account(options.account)})
        table(options, found, _COLUMNS)


def _add(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        asked = {
            "kind": options.kind,
            "value": options.value,
            "account": door.account(options.account),
            "reason": options.reason,
        }
        record(options, door.ask("POST", options.path, asked))


def _remove(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        door.ask("DELETE", f"{options.path}/{options.id}")
    record(options, {"removed": options.id})

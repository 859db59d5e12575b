"""`waypost operator`: the people who sign in to the page."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from relay.cli.door import CommandError, Door, open_door
from relay.cli.output import add_json, as_json, record, table
from relay.cli.registry import Commands

_COLUMNS = "id name account reads_only created_at used_at"


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("operator", help="people who sign in to the page")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    one = verbs.add_parser("list", help="list operators")
    add_json(one)
    one.set_defaults(run=_list)

    one = verbs.add_parser("add", help="make an operator; a generated password is shown once")
    one.add_argument("name")
    one.add_argument("--account", help="name or id; left out: all accounts")
    one.add_argument("--read-only", action="store_true", help="may look and change nothing")
    _add_password(one)
    one.set_defaults(run=_add)

    one = verbs.add_parser("password", help="give a new password; this ends the sessions")
    one.add_argument("name")
    _add_password(one)
    one.set_defaults(run=_password)

    one = verbs.add_parser("remove", help="remove an operator and end the sessions")
    one.add_argument("name")
    add_json(one)
    one.set_defaults(run=_remove)


def _add_password(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--password-stdin",
        action="store_true",
        help="read the password (12 characters or more) from standard input",
    )
    add_json(parser)


def _list(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        table(options, door.pages("/operators"), _COLUMNS)


def _add(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        asked = {
            "name": options.name,
            "account": door.account(options.account),
            "reads_only": options.read_only,
            "password": _typed(options),
        }
        _show(options, door.ask("POST", "/operators", asked))


def _password(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        address = f"/operators/{_id(door, options.name)}/password"
        _show(options, door.ask("POST", address, {"password": _typed(options)}))


def _remove(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        record(options, door.ask("DELETE", f"/operators/{_id(door, options.name)}"))


def _id(door: Door, name: str) -> int:
    for one in door.pages("/operators"):
        if one["name"] == name:
            return int(one["id"])
    raise CommandError(f"there is no operator named {name!r}")


def _typed(options: argparse.Namespace) -> str | None:
    return sys.stdin.readline().rstrip("\r\n") if options.password_stdin else None


def _show(options: argparse.Namespace, made: dict[str, Any]) -> None:
    if options.json:
        as_json(made)
    elif made["password"]:
        print(made["password"])
        print("The password is not shown again.")
    else:
        print("done")

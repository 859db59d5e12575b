"""`waypost credential`: what applications log in with over SMTP."""

from __future__ import annotations

import argparse

from relay.cli.door import CommandError, Door, open_door
from relay.cli.output import add_json, as_json, record, table
from relay.cli.registry import Commands

_COLUMNS = "id account login description dialect networks passwordless revoked_at"


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("credential", help="SMTP logins")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    one = verbs.add_parser("list", help="list credentials")
    one.add_argument("--account", help="name or id")
    add_json(one)
    one.set_defaults(run=_list)

    one = verbs.add_parser("create", help="make a credential; its password is shown once")
    one.add_argument("--account", required=True, help="name or id")
    one.add_argument("--login", help="made up if left out")
    one.add_argument("--description", default="")
    one.add_argument("--dialect", default="waypost", help="vendor whose control headers it may use")
    one.add_argument(
        "--network", action="append", default=[], help="where it may come from; may be repeated"
    )
    one.add_argument(
        "--passwordless", action="store_true", help="clients from --network need no login"
    )
    add_json(one)
    one.set_defaults(run=_create)

    one = verbs.add_parser("revoke", help="revoke a credential, in open sessions too")
    one.add_argument("credential", help="login or id")
    add_json(one)
    one.set_defaults(run=_revoke)


def _list(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        found = door.pages("/credentials", {"account": door.account(options.account)})
        table(options, found, _COLUMNS)


def _create(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        asked = {
            "account": door.account(options.account),
            "login": options.login,
            "description": options.description,
            "dialect": options.dialect,
            "networks": options.network,
            "passwordless": options.passwordless,
        }
        made = door.ask("POST", "/credentials", asked)
    if options.json:
        as_json(made)
        return
    print(f"login     {made['credential']['login']}")
    print(f"password  {made['password']}")
    print("The password is not shown again.")


def _revoke(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        id_ = _named(door, options.credential)
        record(options, door.ask("DELETE", f"/credentials/{id_}"))


def _named(door: Door, named: str) -> int:
    found = door.ask("GET", "/credentials", query={"login": named})["items"]
    if found:
        return int(found[0]["id"])
    if named.isdigit():
        return int(named)
    raise CommandError(f"there is no credential {named!r}")

"""`waypost account`: customers of the relay."""

from __future__ import annotations

import argparse

from relay.cli.door import open_door
from relay.cli.output import add_json, record, table
from relay.cli.registry import Commands

_COLUMNS = "id name opens clicks suspended any_sender messages_per_hour failure_notices"


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("account", help="customers of the relay")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    one = verbs.add_parser("list", help="list accounts")
    add_json(one)
    one.set_defaults(run=_list)

    one = verbs.add_parser("show", help="show an account")
    one.add_argument("account", help="name or id")
    add_json(one)
    one.set_defaults(run=_show)

    one = verbs.add_parser("create", help="make an account; its tracking is off")
    one.add_argument("name")
    one.add_argument(
        "--any-sender", action="store_true", help="may use From domains not registered for it"
    )
    one.add_argument("--messages-per-hour", type=int, default=0, help="0 (default): no limit")
    add_json(one)
    one.set_defaults(run=_create)

    one = verbs.add_parser("change", help="change an account")
    one.add_argument("account", help="name or id")
    one.add_argument("--name")
    one.add_argument("--any-sender", choices=("yes", "no"))
    one.add_argument("--messages-per-hour", type=int)
    one.add_argument(
        "--failure-notices",
        choices=("inherit", "on", "off"),
        help="to senders that asked for nothing; inherit: as the node's settings say",
    )
    add_json(one)
    one.set_defaults(run=_change)

    for verb, meaning in (("suspend", "take no mail from it"), ("resume", "take its mail again")):
        one = verbs.add_parser(verb, help=meaning)
        one.add_argument("account", help="name or id")
        add_json(one)
        one.set_defaults(run=_suspend, suspended=verb == "suspend")


def _list(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        table(options, door.pages("/accounts"), _COLUMNS)


def _show(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        record(options, door.ask("GET", f"/accounts/{door.account(options.account)}"))


def _create(options: argparse.Namespace) -> None:
    asked = {
        "name": options.name,
        "any_sender": options.any_sender,
        "messages_per_hour": options.messages_per_hour,
    }
    with open_door(options) as door:
        record(options, door.ask("POST", "/accounts", asked))


def _change(options: argparse.Namespace) -> None:
    asked = {
        "name": options.name,
        "any_sender": None if options.any_sender is None else options.any_sender == "yes",
        "messages_per_hour": options.messages_per_hour,
        "failure_notices": options.failure_notices,
    }
    with open_door(options) as door:
        path = f"/accounts/{door.account(options.account)}"
        record(options, door.ask("PATCH", path, asked))


def _suspend(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        path = f"/accounts/{door.account(options.account)}"
        record(options, door.ask("PATCH", path, {"suspended": options.suspended}))

"""`waypost apikey`: what programs use the admin API with."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta

from relay.cli.door import open_door
from relay.cli.output import add_json, as_json, record, table
from relay.cli.registry import Commands

_COLUMNS = "id name starts_with account domains scopes expires_at revoked_at used_at"


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("apikey", help="keys of the admin API")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    one = verbs.add_parser("list", help="list keys")
    add_json(one)
    one.set_defaults(run=_list)

    one = verbs.add_parser("create", help="make a key; it is shown once")
    one.add_argument("name")
    one.add_argument(
        "--scope",
        action="append",
        choices=("send", "read", "write", "admin"),
        help="may be repeated; default: read",
    )
    one.add_argument("--account", help="name or id; left out: all accounts")
    one.add_argument("--domain", action="append", default=[], help="only this sending domain")
    one.add_argument("--days", type=int, help="expires after so many days")
    add_json(one)
    one.set_defaults(run=_create)

    one = verbs.add_parser("revoke", help="revoke a key")
    one.add_argument("id", type=int)
    add_json(one)
    one.set_defaults(run=_revoke)


def _list(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        table(options, door.pages("/api-keys"), _COLUMNS)


def _create(options: argparse.Namespace) -> None:
    expires_at = None
    if options.days is not None:
        expires_at = datetime.now(UTC) + timedelta(days=options.days)
    with open_door(options) as door:
        asked = {
            "name": options.name,
            "scopes": options.scope or ["read"],
            "account": door.account(options.account),
            "domains": options.domain,
            "expires_at": expires_at,
        }
        made = door.ask("POST", "/api-keys", asked)
    if options.json:
        as_json(made)
        return
    print(made["key"])
    print("The key is not shown again.")


def _revoke(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        record(options, door.ask("DELETE", f"/api-keys/{options.id}"))

"""`waypost tracking`: the switches for opens and clicks, always asked for twice.

Exit status 3: nothing was done, the confirmation is missing.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from relay.cli.door import Door, open_door
from relay.cli.output import add_json, as_json, safe, table
from relay.cli.registry import Commands

NOT_CONFIRMED = 3
_VALUES = ("on", "off", "optional", "inherit")
_LISTED = 20


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("tracking", help="switches for opens and clicks")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    one = verbs.add_parser("show", help="show the switches in force and where they come from")
    one.add_argument("--account", help="name or id")
    add_json(one)
    one.set_defaults(run=_show)

    one = verbs.add_parser("set", help="switch for an account, or for some of its domains")
    one.add_argument("--account", help="name or id")
    one.add_argument("--domain", action="append", default=[], help="may be repeated")
    one.add_argument("--opens", choices=_VALUES)
    one.add_argument("--clicks", choices=_VALUES)
    one.add_argument("--outlook-links", choices=("yes", "no"), help="in conditional comments")
    one.add_argument("--text-links", choices=("yes", "no"), help="in plain-text parts")
    one.add_argument(
        "--reset", action="store_true", help="domains with a value of their own give it up"
    )
    how = one.add_mutually_exclusive_group()
    how.add_argument("--yes", action="store_true", help="do it without asking")
    how.add_argument("--confirm", metavar="CODE", help="do what was shown with this code")
    add_json(one)
    one.set_defaults(run=_set)


def _show(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        account = door.account(options.account)
        accounts = [one for one in door.pages("/accounts") if account in (None, one["id"])]
        domains = door.pages("/domains", {"account": account})
    rows = [
        {"level": "account", "name": one["name"], "opens": one["opens"], "clicks": one["clicks"]}
        for one in accounts
    ] + [
        {
            "level": "sending domain",
            "name": one["name"],
            "opens": _force(one["effective_opens"]),
            "clicks": _force(one["effective_clicks"]),
        }
        for one in domains
    ]
    table(options, rows, "level name opens clicks")


def _force(effective: dict[str, str]) -> str:
    inherited = " (from the account)" if effective["level"] == "account" else ""
    return effective["value"] + inherited


def _set(options: argparse.Namespace) -> int:
    with open_door(options) as door:
        asked = {
            "account": door.account(options.account),
            "domains": options.domain,
            "opens": options.opens,
            "clicks": options.clicks,
            "outlook_links": _yes_or_no(options.outlook_links),
            "text_links": _yes_or_no(options.text_links),
            "reset": options.reset,
        }
        if options.confirm:
            return _done(
                options, door.ask("POST", "/tracking", {**asked, "confirm": options.confirm})
            )
        answer = door.ask("POST", "/tracking", asked)
        if not options.json:
            _explain(answer)
        if not answer["confirm"]:
            if options.json:
                as_json(answer)
            return 0
        if options.yes or (not options.json and _agreed()):
            return _do(options, door, asked, answer)
    if options.json:
        as_json(answer)
    else:
        print(f"Nothing was changed. To do it: the same with --confirm {answer['confirm']}")
    return NOT_CONFIRMED


def _do(
    options: argparse.Namespace, door: Door, asked: dict[str, Any], answer: dict[str, Any]
) -> int:
    return _done(options, door.ask("POST", "/tracking", {**asked, "confirm": answer["confirm"]}))


def _done(options: argparse.Namespace, answer: dict[str, Any]) -> int:
    if options.json:
        as_json(answer)
    else:
        print("Done.")
    return 0


def _explain(answer: dict[str, Any]) -> None:
    consequence = answer["consequence"]
    for sentence in consequence["summary"]:
        print(f"- {sentence}")
    for effect in consequence["effects"][:_LISTED]:
        print(f"    {effect['domain']}: {effect['switch']} {effect['before']} -> {effect['after']}")
    if len(consequence["effects"]) > _LISTED:
        print(f"    ... and {len(consequence['effects']) - _LISTED} more")
    if consequence["keep_own"]:
        kept = [
            f"{one['domain']} ({one['switch']} {one['value']})" for one in consequence["keep_own"]
        ]
        print(safe(f"  keep their own value: {', '.join(kept[:_LISTED])}"))
        print("  with --reset they take the account's values")


def _agreed() -> bool:
    if not sys.stdin.isatty():
        return False
    return input("Do it? [y/N] ").strip().lower() in ("y", "yes")


def _yes_or_no(given: str | None) -> bool | None:
    return None if given is None else given == "yes"

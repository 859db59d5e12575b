"""`waypost queue`: what waits where, and hold, release, retry, cancel, move; needs a running
server.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from relay.cli.door import CommandError, open_door, part
from relay.cli.output import as_json, table

if TYPE_CHECKING:
    from relay.cli.registry import Commands

_ACTIONS = {
    "hold": "keep deliveries until they are released",
    "release": "let held deliveries go on",
    "retry": "try waiting deliveries now",
    "cancel": "end deliveries without sending them",
    "move": "send deliveries by another destination",
}


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("queue", help="what waits, and what is to become of it")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name, path, text in (
        ("list", "/queue", "what waits, by destination"),
        ("campaigns", "/queue/campaigns", "what waits, by account and campaign"),
        ("deliveries", "/queue/deliveries", "deliveries that wait or are held"),
    ):
        verb = verbs.add_parser(name, help=text)
        _selection(verb)
        verb.add_argument("--limit", type=int, default=100)
        verb.add_argument("--json", action="store_true", help="print JSON instead of text")
        verb.set_defaults(run=_list, path=path)
    show = verbs.add_parser("show", help="one message with its deliveries that wait")
    show.add_argument("message", help="its id, as the 250 reply gave it")
    show.set_defaults(run=_show)
    for name, text in _ACTIONS.items():
        verb = verbs.add_parser(name, help=text)
        _selection(verb)
        verb.add_argument("--message", help="deliveries of this message")
        verb.add_argument("--delivery", help="this delivery")
        verb.add_argument("--everything", action="store_true", help="all of them")
        if name == "move":
            verb.add_argument("--to", required=True, help="the destination to send by")
        verb.set_defaults(run=_change, action=name)


def _selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--destination")
    parser.add_argument("--account", help="name or id")
    parser.add_argument("--campaign")
    parser.add_argument("--domain", dest="sending_domain", help="sending domain")


def _chosen(options: argparse.Namespace, account: int | None) -> dict[str, Any]:
    return {
        "destination": options.destination,
        "account": account,
        "campaign": options.campaign,
        "sending_domain": options.sending_domain,
    }


def _list(options: argparse.Namespace) -> int:
    with open_door(options) as door:
        asked = {**_chosen(options, door.account(options.account)), "limit": options.limit}
        answer = door.ask("GET", options.path, query=asked)
    if options.json:
        as_json(answer)
        return 0
    columns = {
        "/queue": "destination waiting held claimed oldest next_due last_reply",
        "/queue/campaigns": "account campaign sending_domain waiting held claimed oldest",
        "/queue/deliveries": "delivery message recipient state attempts not_before last_reply",
    }
    table(options, answer["items"], columns[options.path])
    return _warn(answer)


def _show(options: argparse.Namespace) -> int:
    with open_door(options) as door:
        as_json(door.ask("GET", f"/queue/messages/{part(options.message)}"))
    return 0


def _change(options: argparse.Namespace) -> int:
    with open_door(options) as door:
        asked = {
            **_chosen(options, door.account(options.account)),
            "action": options.action,
            "message": options.message,
            "delivery": options.delivery,
            "everything": options.everything,
            "to": getattr(options, "to", None),
        }
        answer = door.ask("POST", "/queue", asked)
    print(f"{answer['changed']} deliveries: {options.action}")
    return _warn(answer)


def _warn(answer: dict[str, Any]) -> int:
    if answer["silent"]:
        raise CommandError(f"not all workers answered: {', '.join(answer['silent'])}")
    return 0

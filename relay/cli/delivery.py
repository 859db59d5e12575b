"""`waypost delivery`: the message log, messages in sums, and the story of each delivery."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from relay.cli.door import open_door, part
from relay.cli.output import add_json, as_json, safe, table
from relay.cli.registry import Commands

_COLUMNS = "id requested_at sending_domain campaign recipient state reason"
_BY_MESSAGE = (
    "message requested_at campaign template subject requested delivered bounced failed "
    "opened_human clicked_human unsubscribed complained"
)


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("delivery", help="the message log and the story of a delivery")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    one = verbs.add_parser("list", help="search the message log, newest first")
    one.add_argument("--account", help="name or id")
    one.add_argument("--recipient")
    one.add_argument("--message", help="id, as the SMTP answer gave it")
    one.add_argument("--message-id", help="the Message-ID field, with its angle brackets")
    one.add_argument("--domain", help="sending domain")
    one.add_argument("--campaign")
    one.add_argument("--state", help="such as waiting, delivered, bounced, opened")
    one.add_argument("--most", type=int, default=50, help="how many lines (default 50)")
    add_json(one)
    one.set_defaults(run=_list)

    one = verbs.add_parser("messages", help="list messages with what became of their deliveries")
    one.add_argument("--account", help="name or id")
    one.add_argument("--domain", help="sending domain")
    one.add_argument("--campaign")
    one.add_argument("--template")
    one.add_argument("--since", help="handed in from then on: date or RFC 3339 time")
    one.add_argument("--until", help="not included")
    one.add_argument("--most", type=int, default=50, help="how many lines (default 50)")
    one.add_argument("--csv", action="store_true", help="print all of them as CSV")
    add_json(one)
    one.set_defaults(run=_messages)

    one = verbs.add_parser("show", help="tell a delivery's events and its last conversation")
    one.add_argument("delivery", help="its id")
    add_json(one)
    one.set_defaults(run=_show)


def _list(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        asked = {
            "account": door.account(options.account),
            "recipient": options.recipient,
            "message": options.message,
            "message_id": options.message_id,
            "sending_domain": options.domain,
            "campaign": options.campaign,
            "state": options.state,
        }
        table(options, door.pages("/deliveries", asked, most=options.most), _COLUMNS)


def _messages(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        asked = {
            "account": door.account(options.account),
            "sending_domain": options.domain,
            "campaign": options.campaign,
            "template": options.template,
            "since": options.since,
            "until": options.until,
        }
        if not options.csv:
            table(options, door.pages("/messages", asked, most=options.most), _BY_MESSAGE)
            return
        for piece in door.stream("/messages.csv", asked):
            sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _show(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        told = door.ask("GET", f"/deliveries/{part(options.delivery)}")
    if options.json:
        as_json(told)
        return
    delivery = told["delivery"]
    print(safe(f"{delivery['sender']} -> {delivery['recipient'] or '(erased)'}"))
    print(safe(f"{delivery['subject']}  [{delivery['state']}]"))
    for event in told["events"]:
        print(f"{event.pop('at')}  {event.pop('kind'):12}  {_said(event)}")
    if told["transcript"]:
        print("\nlast attempt:")
        for line in told["transcript"].splitlines():
            print(safe(f"  {line}"))


def _said(event: dict[str, Any]) -> str:
    return safe("  ".join(f"{name}={value}" for name, value in event.items()))

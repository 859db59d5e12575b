"""`waypost bounce`: read what came back (needs no server), hand it in, see what was not linked."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from relay.cli.door import CommandError, open_door
from relay.cli.output import add_json, as_json, record, table

if TYPE_CHECKING:
    from relay.cli.registry import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("bounce", help="read bounces and complaints")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    read = verbs.add_parser("read", help="read mails that came back; one JSON line each")
    read.add_argument(
        "files", nargs="+", metavar="FILE", help="mails or mbox files; - is standard input"
    )
    read.set_defaults(run=_read)

    one = verbs.add_parser("report", help="hand mails in as if they had come back; JSON lines")
    one.add_argument("files", nargs="+", metavar="FILE", help="mails; - is standard input")
    one.add_argument("--address", default="", help="the envelope recipient they came to")
    one.set_defaults(run=_report)

    one = verbs.add_parser("unlinked", help="reports that no delivery was found for, newest first")
    one.add_argument("--limit", type=int, default=50)
    add_json(one)
    one.set_defaults(run=_unlinked)

    one = verbs.add_parser("mailbox", help="a signed mailbox to give to feedback loops")
    one.add_argument("--account", help="name or id; without: for all accounts")
    add_json(one)
    one.set_defaults(run=_mailbox)


def _report(options: argparse.Namespace) -> None:
    from bounces.mbox import mails_in, named

    with open_door(options) as door:
        for name in options.files:
            try:
                raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
            except OSError as problem:
                raise CommandError(f"{name}: cannot be read: {problem.strerror}") from None
            query = {"address": options.address or None}
            for number, mail in enumerate(mails_in(raw), 1):
                answer = door.send("POST", "/reports", "message/rfc822", mail, query)
                as_json({"file": named(name, number), **answer})


def _unlinked(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        found = door.pages("/reports/unlinked", most=options.limit)
    table(options, found, "at event account recipient category reason message_id reply")


def _mailbox(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        account = door.account(options.account)
        record(options, door.ask("GET", "/reports/mailbox", query={"account": account}))


def _read(options: argparse.Namespace) -> int:
    from bounces.commands import read_files

    return read_files(options.files, sys.stdout.buffer, stdin=sys.stdin.buffer)

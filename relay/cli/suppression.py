"""`waypost suppression`: addresses that an account does not send to."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from relay.cli.door import CommandError, open_door
from relay.cli.output import add_json, as_json, record, safe, table
from relay.cli.registry import Commands

_SCOPES = ("account", "domain", "campaign", "tracking")
_COLUMNS = "id account scope within recipient reason note created_at expires_at"


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("suppression", help="addresses that are not sent to")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    one = verbs.add_parser("list", help="search suppressions")
    one.add_argument("search", nargs="?", help="part of the address")
    one.add_argument("--account", help="name or id")
    one.add_argument("--scope", choices=_SCOPES)
    one.add_argument("--reason")
    one.add_argument("--most", type=int, default=1000, help="how many lines (default 1000)")
    add_json(one)
    one.set_defaults(run=_list)

    one = verbs.add_parser("add", help="suppress an address")
    one.add_argument("recipient")
    _add_where(one)
    one.add_argument("--note", default="")
    add_json(one)
    one.set_defaults(run=_add)

    one = verbs.add_parser("remove", help="send to an address again, in all scopes")
    one.add_argument("recipient")
    one.add_argument("--account", required=True, help="name or id")
    add_json(one)
    one.set_defaults(run=_remove)

    one = verbs.add_parser("import", help="import CSV: addresses, or columns named in line 1")
    one.add_argument("file", help="CSV file, - for standard input")
    _add_where(one)
    add_json(one)
    one.set_defaults(run=_import)

    one = verbs.add_parser("export", help="export as CSV to standard output")
    one.add_argument("--account", help="name or id")
    one.set_defaults(run=_export)


def _add_where(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--account", required=True, help="name or id")
    parser.add_argument("--scope", choices=_SCOPES, default="account")
    parser.add_argument("--within", default="", help="the domain or the campaign")


def _list(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        asked = {
            "account": door.account(options.account),
            "search": options.search,
            "scope": options.scope,
            "reason": options.reason,
        }
        table(options, door.pages("/suppressions", asked, most=options.most), _COLUMNS)


def _add(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        asked = {
            "recipient": options.recipient,
            "account": door.account(options.account),
            "scope": options.scope,
            "within": options.within,
            "note": options.note,
        }
        record(options, door.ask("POST", "/suppressions", asked))


def _remove(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        asked = {"recipient": options.recipient, "account": door.account(options.account)}
        found = door.pages("/suppressions", asked)
        if not found:
            raise CommandError(f"{options.recipient} is not suppressed")
        for entry in found:
            door.ask("DELETE", f"/suppressions/{entry['id']}")
    record(options, {"removed": len(found)})


def _import(options: argparse.Namespace) -> int:
    try:
        raw = sys.stdin.buffer.read() if options.file == "-" else Path(options.file).read_bytes()
    except OSError as problem:
        raise CommandError(f"{options.file}: cannot be read: {problem.strerror}") from None
    with open_door(options) as door:
        query = {
            "account": door.account(options.account),
            "scope": options.scope,
            "within": options.within,
        }
        result = door.send("POST", "/suppressions/import", "text/csv", raw, query)
    if options.json:
        as_json(result)
    else:
        print(f"added {result['added']}, known {result['known']}, refused {result['refused']}")
        for line in result["refused_lines"]:
            print(safe(f"  line {line['line']}: {line['why']}"))
    return 1 if result["refused"] else 0


def _export(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        query = {"account": door.account(options.account)}
        for piece in door.stream("/suppressions/export", query):
            sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()

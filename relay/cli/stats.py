"""`waypost stats`: questions to the numbers."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from relay.cli.door import Door, open_door, part
from relay.cli.output import add_json, as_json, safe, table
from relay.cli.registry import Commands

_FILTERS = (
    "campaign",
    "template",
    "recipient-domain",
    "provider",
    "tag",
    "bounce-reason",
    "error-reason",
    "exclusion-reason",
    "rejection-reason",
    "platform",
    "nature",
    "link",
)


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("stats", help="questions to the numbers")
    parser.add_argument("--list", action="store_true", help="say what can be asked")
    parser.add_argument("--account", help="name or id")
    parser.add_argument("--domain", help="one sending domain")
    parser.add_argument("--measures", help="names, apart by commas; see --list")
    parser.add_argument("--by", help="dimensions to group by, apart by commas")
    parser.add_argument("--since", help="date or RFC 3339 time (default: 30 days before --until)")
    parser.add_argument("--until", help="not included (default: the end of today, UTC)")
    parser.add_argument(
        "--interval", choices=("15min", "hour", "day", "week", "month", "total"), default="total"
    )
    parser.add_argument("--zone", help="time zone of dates and intervals (default: UTC)")
    parser.add_argument("--order-by", help="a measure; greatest first")
    parser.add_argument("--limit", type=int, help="how many groups")
    for name in _FILTERS:
        parser.add_argument(f"--{name}", action="append", help="only this; may be repeated")
    parser.add_argument("--csv", action="store_true", help="print CSV")
    add_json(parser)
    parser.set_defaults(run=_stats)


def _stats(options: argparse.Namespace) -> None:
    with open_door(options) as door:
        if options.list:
            _catalogue(options, door)
            return
        path = "/stats"
        query = _query(options)
        if options.domain:
            path = f"/domains/{part(options.domain)}/stats"
        else:
            query["account"] = door.account(options.account)
        if options.csv:
            for piece in door.stream(path + ".csv", query):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return
        answer = door.ask("GET", path, query=query)
    _print(options, answer)


def _catalogue(options: argparse.Namespace, door: Door) -> None:
    catalogue = door.ask("GET", "/stats/catalogue")
    if options.json:
        as_json(catalogue)
        return
    for name, meaning in catalogue["measures"].items():
        print(f"{name:28} {meaning}")
    print(f"\ndimensions: {', '.join(catalogue['dimensions'])}")
    print(f"one of these as well, by day: {', '.join(catalogue['facets'])}")


def _query(options: argparse.Namespace) -> dict[str, object]:
    query = {
        "measures": options.measures,
        "group_by": options.by,
        "since": options.since,
        "until": options.until,
        "interval": options.interval,
        "zone": options.zone,
        "order_by": options.order_by,
        "limit": options.limit,
    }
    for name in _FILTERS:
        field = name.replace("-", "_")
        query[field] = getattr(options, field)
    return query


def _print(options: argparse.Namespace, answer: dict[str, Any]) -> None:
    if options.json:
        as_json(answer)
        return
    rows = [{"start": row["start"], **row["group"], **row["values"]} for row in answer["rows"]]
    if len(rows) == 1:
        for name, value in rows[0].items():
            print(f"{name.replace('_', ' '):24} {safe(str(value))}")
    else:
        table(options, rows, " ".join(rows[0]) if rows else "start")
    for note in answer["notes"]:
        print(f"({note})")

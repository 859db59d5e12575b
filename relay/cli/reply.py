"""`waypost reply classify`: what SMTP replies mean, one JSON line per line; needs no server."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.cli.registry import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("reply", help="say what SMTP replies mean")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    classify = verbs.add_parser("classify", help="read replies as lines, print one JSON line each")
    classify.set_defaults(run=_classify)


def _classify(_options: argparse.Namespace) -> int:
    from bounces.commands import classify_lines

    lines = (line.decode("utf-8", "replace").rstrip("\r\n") for line in sys.stdin.buffer)
    return classify_lines(lines, sys.stdout.buffer)

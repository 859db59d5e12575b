"""`waypost bounce read`: what came back, one JSON line per mail; needs no server."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.cli.registry import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("bounce", help="read bounces and complaints")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    read = verbs.add_parser("read", help="read mails that came back; one JSON line each")
    read.add_argument("files", nargs="+", metavar="FILE", help="mails; - is standard input")
    read.set_defaults(run=_read)


def _read(options: argparse.Namespace) -> int:
    from bounces.commands import read_files

    return read_files(options.files, sys.stdout.buffer, stdin=sys.stdin.buffer)

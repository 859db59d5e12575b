"""`waypost send`: hand in a message from a file, as applications do; needs a running server."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from relay.cli.door import CommandError, open_door

if TYPE_CHECKING:
    from relay.cli.registry import Commands


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("send", help="hand in a message from a file")
    parser.add_argument("file", help="the message (RFC 5322); - reads standard input")
    parser.add_argument("--from", dest="sender", help="envelope sender; default: that of From:")
    parser.add_argument(
        "--to", action="append", required=True, help="envelope recipient; may be given again"
    )
    parser.add_argument("--account", required=True, help="for which account: name or id")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Hand it in; print the reply."""
    try:
        content = sys.stdin.buffer.read() if options.file == "-" else _read(options.file)
    except OSError as problem:
        raise CommandError(f"{options.file}: {problem.strerror}") from None
    with open_door(options) as door:
        query = {
            "sender": options.sender,
            "recipient": options.to,
            "account": door.account(options.account),
        }
        answer = door.send("POST", "/messages", "message/rfc822", content, query)
    print(answer["reply"])
    return 0


def _read(path: str) -> bytes:
    return Path(path).read_bytes()

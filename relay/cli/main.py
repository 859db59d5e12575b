"""The command line's root: which command, which settings, which exit status.

Without a command Waypost starts (`waypost run`). Exit status: 0 done, 1 the command failed, 2
wrong usage, 78 a setting cannot work. Commands are imported when they are called, so that each
starts fast.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from relay.cli import registry
from relay.config import Config
from relay.config_file import load
from relay.errors import EXIT_CONFIG, ConfigError, WaypostError

CONFIG_FILE = "waypost.toml"


def run_command(arguments: Sequence[str]) -> int:
    """Run one command; give the exit status."""
    if arguments and arguments[0] == "_child":
        return _child(arguments[1:])
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        options = parser.parse_args([*arguments, "run"])
    if getattr(options, "run", None) is None:
        parser.print_help()
        return 2
    try:
        status: int | None = options.run(options)
    except ConfigError as problem:
        print(f"waypost: {problem}", file=sys.stderr)
        return EXIT_CONFIG
    except WaypostError as problem:
        print(f"waypost: {problem}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader left; nothing more to say
        return 1
    except KeyboardInterrupt:
        return 130
    return status or 0


def build_parser() -> argparse.ArgumentParser:
    """Build the parser with every command; also walked by the documentation test."""
    parser = argparse.ArgumentParser(
        prog="waypost", description="SMTP relay for campaign mail that measures what it sends."
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        help=f"settings file (default: $WAYPOST_CONFIG, else ./{CONFIG_FILE} if it exists)",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    registry.add_all(commands)
    return parser


def config_path(options: argparse.Namespace) -> Path | None:
    """Say which settings file is in force; None: defaults."""
    named = getattr(options, "config", None) or os.environ.get("WAYPOST_CONFIG")
    if named:
        return Path(named).resolve()
    default = Path(CONFIG_FILE).resolve()
    return default if default.exists() else None


def load_config(options: argparse.Namespace) -> Config:
    """Read the settings that this command runs with; raises ConfigError."""
    return load(config_path(options), os.environ)


def _child(arguments: Sequence[str]) -> int:
    """Become one of the supervisor's children: ROLE INDEX CONFIG SOCKETS."""
    role, index, path, sockets = arguments
    gc.disable()  # until all is imported: a fifth of the time that takes
    from relay.process.children import run_child

    return run_child(role, int(index), Path(path) if path else None, sockets)

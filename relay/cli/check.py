"""`waypost check`: are the settings usable, and which are in force (secrets masked)."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.cli.registry import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("check", help="check the settings and print those in force")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the effective settings; a setting that cannot work is an error before that."""
    from relay.cli.main import config_path, load_config
    from relay.config import masked

    config = load_config(options)
    shown = masked(config)
    if options.json:
        print(json.dumps(shown, indent=2))
        return 0
    print(f"# {config_path(options) or 'no settings file: defaults and environment'}")
    for section, values in shown.items():
        print(f"\n[{section}]")
        for key, value in values.items():
            print(f"{key} = {json.dumps(value)}")
    return 0

"""Which commands there are, in the order in which help lists them.

A command is a module of this package with `add(commands)`, which adds its parser and sets `run`.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""Where a command adds its parser."""

COMMANDS: tuple[str, ...] = (
    "run",
    "check",
    "demo",
    "account",
    "credential",
    "domain",
    "tracking",
    "keys",
    "block",
    "pause",
    "queue",
    "send",
    "suppression",
    "apikey",
    "operator",
    "audit",
    "stats",
    "delivery",
    "audience",
    "erase",
    "sums",
    "bounce",
    "brakes",
    "reply",
    "rewrite",
)


def add_all(commands: Commands) -> None:
    """Add every command's parser."""
    for name in COMMANDS:
        module = f"{__package__}.{name}"
        if importlib.util.find_spec(module) is not None:
            importlib.import_module(module).add(commands)

"""`waypost pause`: what is accepted and waits, until it is resumed."""

from __future__ import annotations

from relay.cli.lines import add_list_command
from relay.cli.registry import Commands


def add(commands: Commands) -> None:
    """Add the command's parser."""
    add_list_command(
        commands,
        "pause",
        "accounts, campaigns, domains and destinations that wait",
        "/pauses",
        ("account", "campaign", "domain", "destination"),
    )

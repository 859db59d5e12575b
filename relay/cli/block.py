"""`waypost block`: links and pixels that the tracking host answers with 410."""

from __future__ import annotations

from relay.cli.lines import add_list_command
from relay.cli.registry import Commands


def add(commands: Commands) -> None:
    """Add the command's parser."""
    add_list_command(
        commands,
        "block",
        "campaigns, domains and destinations whose links answer 410",
        "/blocks",
        ("campaign", "domain", "destination"),
    )

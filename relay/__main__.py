"""`python -m relay`, the same as the command `waypost`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; imports wait until it is known which command it is."""
    from relay.cli.main import run_command

    return run_command(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())

"""Every command that README and docs tell people to type exists."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.cli.main import build_parser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_TYPED = re.compile(r"(?:^|`)(?:\./run\.sh|waypost)((?: [a-z][a-z-]*){1,2})", re.MULTILINE)


def _below(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _unknown(text: str) -> Iterator[str]:
    commands = _below(build_parser())
    for typed in _TYPED.findall(text):
        command, *verb = typed.split()
        verbs = _below(commands[command]) if command in commands else {}
        if command not in commands or (verb and verbs and verb[0] not in verbs):
            yield typed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page: Path) -> None:
    assert list(_unknown(page.read_text(encoding="utf-8"))) == []


def test_a_command_that_is_none_is_found() -> None:
    assert list(_unknown("./run.sh credential add x\n`waypost nope`\n./run.sh check")) == [
        " credential add",
        " nope",
    ]

"""Documentation that fails when it lies: every setting, event, command, endpoint, metric and
control header is described.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from metrics.events import Kind
from metrics.prometheus import METRICS
from relay.acceptance.own_headers import CONTROL_HEADERS
from relay.cli.main import build_parser
from relay.config import Config
from relay.config_file import setting_names

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def command_names() -> list[str]:
    """Walk the parser: "run", "account add" and so on."""

    def walk(parser: argparse.ArgumentParser, before: str) -> Iterator[str]:
        nested = [
            action.choices
            for action in parser._actions
            if isinstance(action, argparse._SubParsersAction)
        ]
        if not nested:
            yield before.strip()
        for choices in nested:
            for name, inner in choices.items():
                yield from walk(inner, f"{before} {name}")

    return list(walk(build_parser(), ""))


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("configuration.md", setting_names()),
        ("events.md", [kind.value for kind in Kind]),
        ("operations.md", command_names()),
        ("headers.md", list(CONTROL_HEADERS)),
        ("metrics.md", list(METRICS)),
    ],
)
def test_nothing_is_undocumented(page: str, names: list[str]) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    assert len(names) > 3
    assert [name for name in names if f"`{name}`" not in text] == []


def test_documented_settings_exist_with_these_defaults() -> None:
    import json

    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| `([a-z_]+)\.([a-z_]+)` \| `(.*?)` \|", text)
    assert sorted(f"{section}.{key}" for section, key, _ in rows) == sorted(setting_names())
    config = Config()
    for section, key, default in rows:
        value = getattr(getattr(config, section), key)
        assert json.dumps(value) == default, f"{section}.{key}"


def test_links_between_pages_lead_somewhere() -> None:
    link = re.compile(r"\]\(([^)#:]+\.md)(?:#[^)]*)?\)")
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in (ROOT / "README.md", *DOCS.rglob("*.md"))
        for target in link.findall(page.read_text("utf-8"))
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_the_flow_names_files_that_exist() -> None:
    text = (DOCS / "flow.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:relay|tracking|bounces|metrics)/[a-z_/]+\.py)`", text)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []

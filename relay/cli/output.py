"""What commands print: tables for people, JSON for programs, nothing that a terminal would obey."""

from __future__ import annotations

import argparse
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Give a command its `--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def as_json(value: object) -> None:
    """Print a value as one line of JSON."""
    print(msgspec.json.encode(value).decode())


def table(options: argparse.Namespace, rows: Sequence[Mapping[str, Any]], columns: str) -> None:
    """Print rows with these columns (names apart by spaces), or all of them as JSON."""
    if options.json:
        as_json(rows)
        return
    names = columns.split()
    written = [[_cell(row.get(name)) for name in names] for row in rows]
    widths = [
        max(_width(text) for text in column)
        for column in zip([name.replace("_", " ") for name in names], *written, strict=True)
    ]
    lines = [[name.replace("_", " ") for name in names], *written]
    for line in lines:
        padded = (
            text + " " * (width - _width(text)) for text, width in zip(line, widths, strict=True)
        )
        print("  ".join(padded).rstrip())
    if not rows:
        print("(none)")


def record(options: argparse.Namespace, value: Mapping[str, Any]) -> None:
    """Print one thing, a line per field, or as JSON."""
    if options.json:
        as_json(value)
        return
    width = max(len(name) for name in value)
    for name, field in value.items():
        print(f"{name.replace('_', ' '):{width}}  {_cell(field)}")


def safe(text: str) -> str:
    """Make text of strangers harmless for a terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def _cell(value: object) -> str:
    if value is None or value == [] or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(_cell(item) for item in value)
    if isinstance(value, dict):
        return safe(msgspec.json.encode(value).decode())
    return safe(str(value))


def _width(text: str) -> int:
    """Count the columns that a text takes in a terminal."""
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)

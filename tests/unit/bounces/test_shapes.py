"""The ways in which notices name who failed: each alone, by whatever system and in any language."""

import tomllib
from pathlib import Path

import pytest

from bounces.read import read

ROWS = tomllib.loads((Path(__file__).parent / "shapes.toml").read_text(encoding="utf-8"))["shape"]
HEAD = (
    "Return-Path: <>\nFrom: Mail Delivery System <MAILER-DAEMON@mx.isp.test>\n"
    "To: b@bounce.shop.test\nSubject: Delivery failure\nMIME-Version: 1.0\n"
    "Content-Type: text/plain; charset=utf-8\n\nYour mail could not be delivered.\n\n"
)


@pytest.mark.parametrize("row", ROWS, ids=[str(number) for number in range(len(ROWS))])
def test_shape_names_its_recipients(row: dict[str, object]) -> None:
    """All of them, and nobody else: no sender, no helpdesk, no Message-ID."""
    report = read(f"{HEAD}{row['text']}\n".encode())
    assert [record.recipient for record in report.records] == row["recipients"]

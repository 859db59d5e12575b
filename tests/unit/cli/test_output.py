"""What commands print is harmless for a terminal, and lines up."""

from __future__ import annotations

import argparse

import pytest

from relay.cli.output import record, safe, table

TEXT = argparse.Namespace(json=False)
JSON = argparse.Namespace(json=True)


def test_a_terminal_obeys_nothing_that_strangers_wrote() -> None:
    """Escapes, bells, line ends and direction marks are replaced; other scripts stay."""
    assert safe("\x1b[2Jgone\x07\r\n\x9b1m") == "\ufffd[2Jgone\ufffd\ufffd\ufffd\ufffd1m"
    assert safe("abc\u202egnp.exe") == "abc\ufffdgnp.exe"
    assert safe("春节 printemps été") == "春节 printemps été"


def test_a_table_lines_up_with_wide_characters(capsys: pytest.CaptureFixture[str]) -> None:
    """A Chinese character takes two columns."""
    table(TEXT, [{"name": "春节", "n": 1}, {"name": "x\x1b", "n": None}], "name n")
    assert capsys.readouterr().out.splitlines() == ["name  n", "春节  1", "x\ufffd    -"]
    table(TEXT, [], "name")
    assert capsys.readouterr().out == "name\n(none)\n"


def test_json_is_one_line_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """With every field, not only the columns of the table."""
    table(JSON, [{"name": "a", "other": [1]}], "name")
    record(JSON, {"x": None})
    assert capsys.readouterr().out == '[{"name":"a","other":[1]}]\n{"x":null}\n'

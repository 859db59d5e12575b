"""The log: whatever text from the wire is in a record, it is one line and printable."""

from __future__ import annotations

import logging

import pytest

from relay import log
from relay.log import _LineFormatter


@pytest.mark.parametrize(
    "text",
    [
        "a\r\n2026-11-21T00:00:00.000Z worker-0 INFO forged",
        "\x1b[31mred\x1b[0m \x1b]0;title\x07",
        "nul \x00 del \x7f next line \x85 csi \x9b",
        "separators \u2028 and \u2029, \x0b, \x0c",
    ],
)
def test_text_from_the_wire_forges_nothing(text: str) -> None:
    failure = (ValueError, ValueError(text), None)
    record = logging.LogRecord("x", logging.ERROR, __file__, 1, "said %s", (text,), failure)
    line = _LineFormatter("%(asctime)s %(message)s").format(record)
    assert [c for c in line if not c.isprintable()] == []
    assert len(line.splitlines()) == 1


def test_a_long_record_is_cut() -> None:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "y" * 100_000, None, None)
    assert len(_LineFormatter("%(message)s").format(record)) <= 4000


def test_errors_are_counted_and_those_for_lack_of_memory_apart() -> None:
    before = dict(log.errors)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        log.set_up("worker-0", "info")
        one = logging.getLogger("relay.test")
        one.warning("no error")
        one.error("an error")
        one.error("no memory", exc_info=MemoryError())
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    assert {cause: log.errors[cause] - before[cause] for cause in log.CAUSES} == {
        "memory": 1,
        "other": 1,
    }

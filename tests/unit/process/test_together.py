"""Work that is done again and again bears an outage, and says so once."""

from __future__ import annotations

import logging

import pytest

from relay.errors import StorageError
from relay.process.together import every


async def test_an_outage_is_told_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    """Without a trace: it is no bug of ours. Anything but an outage breaks the job."""
    turns = iter("-!!!-!-b")

    async def work() -> None:
        turn = next(turns)
        if turn == "!":
            raise StorageError("the server is away")
        if turn == "b":
            raise ValueError("a bug")

    with caplog.at_level(logging.INFO), pytest.raises(ValueError, match="a bug"):
        await every(0, work, "upkeep")
    failed, works = "upkeep failed; it is tried again: the server is away", "upkeep works again"
    assert caplog.messages == [failed, works, failed, works]
    assert [record.exc_info for record in caplog.records] == [None] * 4

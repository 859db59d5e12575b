"""Bytes are taken exactly as sent, whatever the chunks."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.sandbox.wire import OverrunError, Wire, stuff, unstuff

CONTENTS = st.lists(
    st.sampled_from([b"a", b".", b"..", b"\r\n", b"x.\r\n", b"\r", b"\n", b"\0"])
).map(b"".join)


def wire_of(*chunks: bytes) -> Wire:
    """Feed chunks and then the end."""
    reader = asyncio.StreamReader()
    for chunk in chunks:
        reader.feed_data(chunk)
    reader.feed_eof()
    return Wire(reader, line_limit=50, data_limit=5000)


@given(CONTENTS)
def test_stuffed_content_comes_back(content: bytes) -> None:
    ended = content if not content or content.endswith(b"\r\n") else content + b"\r\n"

    async def read() -> tuple[bytes, bytes]:
        wire = wire_of(stuff(content) + b"QUIT\r\n")
        return await wire.data(), await wire.line()

    assert asyncio.run(read()) == (ended, b"QUIT")


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
async def test_chunks_make_no_difference(size: int) -> None:
    stream = b"DATA\r\nSubject: x\r\n\r\n..a\r\n.\nb\r\n.\r\nRSET\r\n"
    reader = asyncio.StreamReader()
    wire = Wire(reader)

    async def feed() -> None:
        for start in range(0, len(stream), size):
            reader.feed_data(stream[start : start + size])
            await asyncio.sleep(0)

    feeding = asyncio.create_task(feed())
    assert await wire.line() == b"DATA"
    assert await wire.data() == b"Subject: x\r\n\r\n.a\r\n\nb\r\n"
    assert await wire.line() == b"RSET"
    await feeding


async def test_only_crlf_ends_the_data() -> None:
    wire = wire_of(b"a\n.\nb\r\n.\nc\n.\r\nd\r\n.\r\n")
    assert await wire.data() == unstuff(b"a\n.\nb\r\n.\nc\n.\r\nd\r\n")


async def test_empty_data() -> None:
    assert await wire_of(b".\r\n").data() == b""


async def test_bounds() -> None:
    with pytest.raises(OverrunError):
        await wire_of(b"x" * 100).line()
    with pytest.raises(OverrunError):
        await wire_of(b"x" * 6000).data()
    with pytest.raises(EOFError):
        await wire_of(b"cut off").data()


async def test_discard_forgets_what_was_read_ahead() -> None:
    wire = wire_of(b"STARTTLS\r\nMAIL FROM:<evil@x.test>\r\n")
    assert await wire.line() == b"STARTTLS"
    assert wire.pending
    wire.discard()
    with pytest.raises(EOFError):
        await wire.line()

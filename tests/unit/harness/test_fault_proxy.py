"""What passes through the proxy is unchanged, or broken as it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.harness.fault_proxy import End, FaultProxy, Lane, Weather


@asynccontextmanager
async def through(
    weather: Weather,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to an echo server through a proxy."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(1000):
                writer.write(chunk)
                await writer.drain()
            writer.write_eof()
        except OSError:
            pass  # the weather
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    proxy = FaultProxy(server.sockets[0].getsockname()[:2], weather)
    reader, writer = await asyncio.open_connection(*await proxy.start())
    try:
        yield reader, writer
    finally:
        writer.close()
        await proxy.close()
        server.close()


@pytest.mark.parametrize(
    ("weather", "expected"),
    [
        (Weather(), b"x" * 10_000),
        (Weather(up=Lane(chunk=100), down=Lane(chunk=7)), b"x" * 10_000),
        (Weather(down=Lane(latency=0.001)), b"x" * 10_000),
        (Weather(up=Lane(after=1234, end=End.HALF)), b"x" * 1234),
        (Weather(up=Lane(after=1234, end=End.HOLE)), b"x" * 1234),
        (Weather(down=Lane(after=500)), b"x" * 500),
    ],
)
async def test_orderly_ends(weather: Weather, expected: bytes) -> None:
    async with asyncio.timeout(20), through(weather) as (reader, writer):
        writer.write(b"x" * 10_000)
        await writer.drain()
        writer.write_eof()
        assert await reader.read(-1) == expected


async def test_reset() -> None:
    weather = Weather(down=Lane(after=500, end=End.RESET))
    async with asyncio.timeout(20), through(weather) as (reader, writer):
        writer.write(b"x" * 10_000)
        with pytest.raises(ConnectionResetError):
            await reader.read(-1)

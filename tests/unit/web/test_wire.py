"""Octets that are no request get a status and nothing else; what fails on our side is logged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from relay.web.wire import DiscreetRunner

BROKEN = {
    "no-http": b"\x16\x03\x01secret\r\n\r\n",
    "method": b"GE<script>T /secret HTTP/1.1\r\nHost: x\r\n\r\n",
    "header": b"GET / HTTP/1.1\r\nHost: x\r\nsecret\x01: y\r\n\r\n",
    "html": b"GET / HTTP/1.1\r\nAccept: text/html\r\nsecret\x01: y\r\n\r\n",
    "line": b"GET /" + b"secret" * 2000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1secret\r\n\r\n",
    "chunk": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nsecret\r\n",
}


@asynccontextmanager
async def _served(runner_class: type[web.AppRunner]) -> AsyncIterator[int]:
    async def read(request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    async def broken(_request: web.Request) -> web.Response:
        raise RuntimeError("a bug of ours")

    app = web.Application()
    app.router.add_route("*", "/", read)
    app.router.add_get("/broken", broken)
    runner = runner_class(
        app, access_log=None, max_line_size=4096, shutdown_timeout=0.1, keepalive_timeout=0.2
    )
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def _said(port: int, octets: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(octets)
    found = await reader.read()
    writer.close()
    await writer.wait_closed()
    return found


@pytest.mark.parametrize("row", BROKEN)
async def test_w10_nothing_of_a_broken_request_comes_back(
    row: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with _served(DiscreetRunner) as port:
        found = await _said(port, BROKEN[row])
    assert found.partition(b"\r\n")[0].split()[1] == b"400"
    assert found.endswith(b"\r\n\r\n400: Bad Request")
    assert b"secret" not in found
    assert b"ython" not in found
    assert b"aiohttp" not in found
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_the_control_aiohttp_alone_quotes_it() -> None:
    async with _served(web.AppRunner) as port:
        found = await _said(port, BROKEN["header"])
    assert b"secret" in found
    assert b"aiohttp" in found


async def test_what_fails_on_our_side_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with _served(DiscreetRunner) as port:
        found = await _said(port, b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 500 ")
    assert b"bug" not in found
    assert "a bug of ours" in caplog.text


async def test_good_requests_are_answered_as_ever() -> None:
    async with _served(DiscreetRunner) as port:
        wanted = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"
        assert (await _said(port, wanted)).endswith(b"\r\n\r\n3")


@pytest.mark.parametrize(
    "begun", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX-A: b"]
)
@pytest.mark.parametrize("before", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
async def test_w14_fields_that_trickle_in_and_silence_end_the_connection(
    begun: bytes, before: bytes
) -> None:
    """Whatever was begun, also after a request that was answered."""
    async with _served(DiscreetRunner) as port:
        found = await _said(port, before + begun)
    assert found.count(b"HTTP/1.1 200") == bool(before)

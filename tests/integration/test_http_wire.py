"""Rows W10, W13, W14, W17 and X03 of the bad inputs: octets that are no proper HTTP, at the
tracking host and at the admin listener of a running relay.

Whatever comes, the answer is a 4xx or the end of the connection, nothing is redirected, nothing is
answered twice, the relay goes on, and its log holds no traceback.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import Path

import pytest

from tests.harness.relay_under_test import RelayUnderTest

pytestmark = pytest.mark.timeout(120)
HOST = b"Host: 127.0.0.1\r\n"
POST = b"POST /u/AAAA HTTP/1.1\r\n" + HOST
ROWS: dict[str, bytes] = {
    "two-hosts": b"GET /c/x HTTP/1.1\r\n" + HOST + b"Host: evil.test\r\n\r\n",
    "foreign-host": b"GET /c/x HTTP/1.1\r\nHost: evil.test\r\n\r\n",
    "no-host": b"GET /c/x HTTP/1.1\r\n\r\n",
    "absolute-form": b"GET http://evil.test/c/x HTTP/1.1\r\n" + HOST + b"\r\n",
    "length-and-chunks": POST
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + b"GET /metrics HTTP/1.1\r\n\r\n",
    "two-lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    "odd-encoding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "encoding-twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
    "bare-line-feeds": b"GET /c/x HTTP/1.1\nHost: 127.0.0.1\n\n",
    "folded-header": b"GET /c/x HTTP/1.1\r\n" + HOST + b"X-A: b\r\n c\r\n\r\n",
    "space-before-colon": b"GET /c/x HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n",
    "nul-in-path": b"GET /c/\x00 HTTP/1.1\r\n" + HOST + b"\r\n",
    "line-ends-in-path": b"GET /c/%0d%0aSet-Cookie:%20a=b HTTP/1.1\r\n" + HOST + b"\r\n",
    "long-line": b"GET /c/" + b"A" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "long-cookie": b"GET /c/x HTTP/1.1\r\n" + HOST + b"Cookie: " + b"a" * 65_000 + b"\r\n\r\n",
    "many-headers": b"GET /c/x HTTP/1.1\r\n" + HOST + b"X-A: b\r\n" * 10_000 + b"\r\n",
    "chunk-extension": POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 1_000_000,
    "negative-chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n",
    "large-body": POST + b"Content-Length: 70000\r\n\r\n" + b"x" * 70_000,
    "packed-body": POST + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00",
    "version-2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "tls-hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500,
    "smtp": b"EHLO client.test\r\nMAIL FROM:<a@b.test>\r\n",
    "the-other-listener": b"GET /readyz HTTP/1.1\r\nHost: t.test\r\n\r\n",
    "escape": b"GET /c/\x1b]0;x\x07 HTTP/1.1\r\nUser-Agent: \x1b[31m\r\n" + HOST + b"\r\n",
}


async def answer(address: tuple[str, int], octets: bytes) -> bytes:
    """Send, say that no more comes, and give all that is answered."""
    reader, writer = await asyncio.open_connection(*address)
    heard = b""
    with contextlib.suppress(OSError, TimeoutError):
        writer.write(octets)
        await writer.drain()
        async with asyncio.timeout(3):
            while chunk := await reader.read(65_536):
                heard += chunk
                if heard.count(b"HTTP/1.") >= 1 and b"\r\n\r\n" in heard:
                    writer.write_eof()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return heard


async def wrong_at(address: tuple[str, int]) -> dict[str, bytes]:
    """Send every row; give the answers that are not as they should be."""
    answers = await asyncio.gather(*(answer(address, octets) for octets in ROWS.values()))
    wrong = {}
    for name, heard in zip(ROWS, answers, strict=True):
        codes = re.findall(rb"(?m)^HTTP/1\.[01] (\d\d\d)", heard)
        if any(not code.startswith(b"4") for code in codes) or len(codes) > 1:
            wrong[name] = heard[:200]
        if b"evil" in heard or b"\nSet-Cookie: a=b" in heard or b"\nLocation" in heard:
            wrong[name] = heard[:200]
    return wrong


async def codes_of_many(address: tuple[str, int], requests: int) -> set[bytes]:
    """Send many requests in one write; give the codes that come back."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write((b"GET /c/x HTTP/1.1\r\n" + HOST + b"\r\n") * requests)
    heard = b""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(20):
            while heard.count(b"HTTP/1.1 404") < requests and (chunk := await reader.read(65_536)):
                heard += chunk
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return set(re.findall(rb"HTTP/1\.1 (\d\d\d)", heard))


async def test_what_is_no_proper_request_gets_a_4xx_or_nothing(tmp_path: Path) -> None:
    async with RelayUnderTest(tmp_path) as relay:
        before = relay.pids()
        for door in ("tracking", "admin"):
            assert await wrong_at(relay.address(door)) == {}, door
        assert await codes_of_many(relay.address("tracking"), 2000) == {b"404"}
        assert relay.pids() == before
        log = await asyncio.to_thread(relay.log.read_bytes)
    assert b"Traceback" not in log
    assert b"\x1b" not in log

"""Line ends, dots, NUL and long lines in content: nothing smuggled in, nothing altered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from relay.submission.tls import ServerTls
from tests.harness.smtp_talk import OPTIONS, chunked, open_door

HEADER = b"Subject: x\r\n\r\n"
SMUGGLED = b"MAIL FROM:<s@s>\r\nRCPT TO:<t@t>\r\nDATA\r\nsmug\r\n.\r\n"
FALSE_ENDS = {
    "E01": b"\n.\n",
    "E02": b"\n.\r\n",
    "E03": b"\r\n.\n",
    "E04": b"\r.\r",
    "E05": b"\r.\r\n",
    "E06": b"\r\n.\r",
    "E07": b"\n.\r",
    "E08": b"\r.\n",
    "E09": b"\r\n\0.\r\n",
    "E10": b"\r\n.\0\r\n",
    "E11": b"\r\n.\r\r\n",
}
ALL_CHUNKS = ("whole", "bytes", "cr", "random")


async def submit(
    server_tls: ServerTls, data: bytes, chunks: str, *, tls: bool = False, **limits: Any
) -> tuple[str, list[bytes]]:
    """Send what follows 354; give the reply and the contents that the handler took."""
    async with open_door(server_tls, **limits) as opened:
        talk = await opened.at("data", tls=tls)
        await talk.send(chunked(data, chunks))
        reply = await talk.reply()
        assert (await talk.say(b"NOOP\r\n")).startswith("250 2.0.0")
        await talk.close()
    contents = []
    for envelope in opened.recorder.envelopes:
        assert isinstance(envelope.content, bytes)
        contents.append(envelope.content)
    return reply, contents


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("chunks", ALL_CHUNKS)
@pytest.mark.parametrize("row", FALSE_ENDS)
async def test_false_end_of_data_smuggles_nothing(
    row: str, chunks: str, tls: bool, server_tls: ServerTls
) -> None:
    data = HEADER + b"hello" + FALSE_ENDS[row] + SMUGGLED
    reply, contents = await submit(server_tls, data, chunks, tls=tls)
    assert reply.startswith("550 5.6.0" if row in ("E09", "E10") else "550 5.5.2")
    assert contents == []


@pytest.mark.parametrize("chunks", ALL_CHUNKS)
async def test_e12_bare_cr_before_the_real_end_is_refused(
    chunks: str, server_tls: ServerTls
) -> None:
    reply, contents = await submit(server_tls, HEADER + b"hello\r\r\n.\r\n", chunks)
    assert reply.startswith("550 5.5.2")
    assert contents == []


@pytest.mark.parametrize("chunks", ALL_CHUNKS)
@pytest.mark.parametrize(
    ("wire", "content"),
    [
        (b"..\r\n.\r\n", b".\r\n"),
        (b"...\r\n.\r\n", b"..\r\n"),
        (b"..a\r\n..b\r\n.\r\n", b".a\r\n.b\r\n"),
        (b".a\r\n.\r\n", b"a\r\n"),
        (b"a.\r\n.\r\n", b"a.\r\n"),
        (b"\r\n.\r\n", b"\r\n"),
        (b".\r\n", b""),
        (b"a\r\n\r\n.\r\n", b"a\r\n\r\n"),
        (b"x\r\n" + b"..\r\n" * 500 + b"y\r\n.\r\n", b"x\r\n" + b".\r\n" * 500 + b"y\r\n"),
    ],
)
async def test_e14_dots_are_unstuffed_exactly(
    wire: bytes, content: bytes, chunks: str, server_tls: ServerTls
) -> None:
    assert await submit(server_tls, wire, chunks) == ("250 2.0.0 Taken", [content])


@pytest.mark.parametrize("border", range(1, 9))
async def test_e15_the_end_is_found_across_any_border(border: int, server_tls: ServerTls) -> None:
    async with open_door(server_tls) as opened:
        talk = await opened.at("data")
        data = HEADER + b"x" * 60 + b"\r\n.\r\nNOOP\r\n"
        at = len(data) - len(b"\r\n.\r\nNOOP\r\n") - 1 + border
        await talk.send([data[:at], *chunked(data[at:], "bytes")])
        assert await talk.reply() == "250 2.0.0 Taken"
        assert (await talk.reply()).startswith("250 2.0.0")
        await talk.close()


@pytest.mark.parametrize("size", range(65_528, 65_544))
async def test_e15_the_end_is_found_at_the_border_of_a_read(
    size: int, server_tls: ServerTls
) -> None:
    line = b"x" * 62 + b"\r\n"
    content = HEADER + line * 1100
    content = content[:size].rpartition(b"\r\n")[0]
    content += b"\r\n" + b"y" * (size - len(content) - 2)
    reply, contents = await submit(server_tls, content + b"\r\n.\r\n", "whole")
    assert reply.startswith("250")
    assert contents == [content + b"\r\n"]


async def test_e17_nul_is_refused_in_the_header_and_by_choice_in_the_body(
    server_tls: ServerTls,
) -> None:
    for data in (b"Subject: a\0b\r\n\r\nx\r\n.\r\n", HEADER + b"a\0b\r\n.\r\n"):
        reply, contents = await submit(server_tls, data, "whole")
        assert reply.startswith("550 5.6.0")
        assert contents == []
    options = replace(OPTIONS, nul_in_body=True)
    reply, _ = await submit(server_tls, HEADER + b"a\0b\r\n.\r\n", "whole", options=options)
    assert reply.startswith("250")
    reply, _ = await submit(server_tls, b"A: \0\r\n\r\nx\r\n.\r\n", "whole", options=options)
    assert reply.startswith("550 5.6.0")


@pytest.mark.parametrize("where", ["header", "body"])
@pytest.mark.parametrize("size", [997, 998, 999, 1000, 1001, 70_000])
async def test_e18_long_line_is_refused(where: str, size: int, server_tls: ServerTls) -> None:
    line = b"X-Long: " + b"a" * (size - 8)
    data = (line + b"\r\n\r\n" if where == "header" else HEADER + line + b"\r\n") + b".\r\n"
    reply, contents = await submit(server_tls, data, "random")
    assert reply.startswith("250" if size <= 998 else "500 5.5.2")
    assert len(contents) == (size <= 998)
    reply, _ = await submit(server_tls, data, "random", line=65_536)
    assert reply.startswith("250" if size <= 65_536 else "500 5.5.2")


async def test_e18_endless_line_is_cut_at_the_limit(server_tls: ServerTls) -> None:
    async with open_door(server_tls, message=100_000, message_slack=10_000) as opened:
        talk = await opened.at("data")
        await talk.send([b"a" * 50_000] * 40)
        assert (await talk.reply()).startswith("552 5.3.4")
        assert await talk.rest() == []
        await talk.close()
    assert opened.door.gate.inflight == 0


async def test_message_over_the_limit_is_refused_and_the_session_lives(
    server_tls: ServerTls,
) -> None:
    data = HEADER + b"x" * 70 + b"\r\n"
    for limit, expected in ((len(data), "250"), (len(data) - 1, "552 5.3.4")):
        reply, _ = await submit(server_tls, data + b".\r\n", "whole", message=limit)
        assert reply.startswith(expected)


@pytest.mark.parametrize("char", [b"\x85", b"\xe2\x80\xa8", b"\x0b", b"\x0c", b"\x1c"])
async def test_e20_only_crlf_is_a_line_break(char: bytes, server_tls: ServerTls) -> None:
    content = b"Subject: a" + char + b"Bcc: b@c.test\r\n\r\nx\r\n"
    assert await submit(server_tls, content + b".\r\n", "whole") == ("250 2.0.0 Taken", [content])


async def test_line_ends_are_repaired_only_by_choice(server_tls: ServerTls) -> None:
    options = replace(OPTIONS, normalize_line_ends=True)
    data = HEADER + b"a\nb\rc\r\n\n.\n\r\n.\r\n"
    reply, contents = await submit(server_tls, data, "whole", options=options)
    assert reply.startswith("250")
    assert contents == [HEADER + b"a\r\nb\r\nc\r\n\r\n.\r\n\r\n"]


async def test_line_ends_are_repaired_by_choice_at_a_door_without_login(
    server_tls: ServerTls,
) -> None:
    options = replace(OPTIONS, normalize_line_ends=True, auth_required=False)
    reply, contents = await submit(server_tls, HEADER + b"a\nb\r\n.\r\n", "whole", options=options)
    assert (reply[:3], contents) == ("250", [HEADER + b"a\r\nb\r\n"])


async def test_header_block_limits(server_tls: ServerTls) -> None:
    folded = b"X: a\r\n" + b" b\r\n" * 3000
    many = b"".join(b"X-%d: a\r\n" % number for number in range(2001))
    huge = b"X: a\r\n" + (b" " + b"b" * 900 + b"\r\n") * 120
    block = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 900) for number in range(300))
    received = b"Received: from a\r\n" * 101
    for header, expected in (
        (folded, "250"),
        (many[: many.rfind(b"X-2000")], "250"),
        (many, "552 5.3.4"),
        (huge, "552 5.3.4"),
        (block, "552 5.3.4"),
        (received, "554 5.4.6"),
        (received[18:], "250"),
    ):
        reply, _ = await submit(server_tls, header + b"\r\nbody\r\n.\r\n", "whole")
        assert reply.startswith(expected), header[:40]

"""Every row of the bad inputs through a real socket, in several chunkings, plain and under TLS."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relay.mail.addresses import AddressError, parse_address
from relay.submission.tls import ServerTls
from tests.harness.smtp_talk import Talk, chunked, open_door

DATA = Path(__file__).parents[2] / "data" / "bad_inputs"
ALL_CHUNKS = ("whole", "bytes", "cr", "random")

Row = dict[str, Any]


def rows(name: str) -> list[Row]:
    found: list[Row] = tomllib.loads((DATA / f"{name}.toml").read_text())["row"]
    assert len({row["id"] for row in found}) == len(found)
    return found


def variants(name: str) -> Iterator[Any]:
    for row in rows(name):
        for where in [row["where"]] if "where" in row else ["plain", "tls"]:
            for chunks in row.get("chunks", ALL_CHUNKS):
                yield pytest.param(row, chunks, where, id=f"{row['id']}-{chunks}-{where}")


def fits(reply: str, expected: str) -> bool:
    return any(reply.startswith(each) for each in expected.split(" or "))


async def check_end(talk: Talk, *, closes: bool) -> None:
    if closes:
        assert await talk.rest() == []
    else:
        assert (await talk.say(b"NOOP\r\n")).startswith("250 2.0.0")
    await talk.close()


@pytest.mark.parametrize(("row", "chunks", "where"), [*variants("commands"), *variants("auth")])
async def test_row_is_answered_as_required(
    row: Row, chunks: str, where: str, server_tls: ServerTls
) -> None:
    async with open_door(server_tls) as opened:
        talk = await opened.at(row["stage"], tls=where == "tls")
        data = row["send"].encode("latin-1") * row.get("times", 1)
        async with talk.sending(chunked(data, chunks)):
            for number, expected in enumerate(row["replies"]):
                reply = await talk.reply()
                assert fits(reply, expected), (number, reply)
            await check_end(talk, closes=row.get("closes", False))
    assert len(opened.recorder.envelopes) == row.get("taken", 0)
    assert opened.counts["session_errors"] == 0


@pytest.mark.parametrize(
    ("chunks", "tls"),
    [("whole", False), ("whole", True), ("bytes", False), ("cr", True)],
    ids=["whole-plain", "whole-tls", "bytes-plain", "cr-tls"],
)
@pytest.mark.parametrize("row", rows("addresses"), ids=lambda row: str(row["id"]))
async def test_address_is_judged_the_same_in_mail_and_rcpt(
    row: Row, chunks: str, tls: bool, server_tls: ServerTls
) -> None:
    path = row["path"].encode("latin-1")
    parameter = b" SMTPUTF8" if row.get("utf8") else b""
    async with open_door(server_tls) as opened:
        talk = await opened.at("logged", tls=tls)
        await talk.send(chunked(b"MAIL FROM:" + path + parameter + b"\r\n", chunks))
        assert fits(await talk.reply(), row["mail"] if "mail" in row else row["reply"])
        await talk.close()

        talk = await opened.at("utf8" if row.get("utf8") else "sender", tls=tls)
        await talk.send(chunked(b"RCPT TO:" + path + b"\r\n", chunks))
        reply = await talk.reply()
        assert fits(reply, row["reply"])
        if reply.startswith("250"):
            assert await talk.say(b"DATA\r\n") == "354 End the message with <CR><LF>.<CR><LF>"
            assert (await talk.say(b"\r\n.\r\n")).startswith("250")
            envelope = opened.recorder.envelopes[0]
            expected = row.get("address", row["path"][1:-1]).encode("latin-1")
            assert [each.mailbox.address for each in envelope.recipients] == [expected]
        await talk.close()


def is_about_brackets(row: Row) -> bool:
    path: str = row["path"]
    inner = path[1:-1]
    bracketed = path[:1] == "<" and path[-1:] == ">" and inner[:1] not in ("", "@")
    return not bracketed or "D10-path" in row["id"]


@pytest.mark.parametrize(
    "row",
    [row for row in rows("addresses") if not is_about_brackets(row)],
    ids=lambda row: str(row["id"]),
)
def test_address_without_brackets_is_judged_by_the_same_grammar(row: Row) -> None:
    path = row["path"].encode("latin-1")
    if row["reply"].startswith("250"):
        assert parse_address(path[1:-1], utf8=row.get("utf8", False)).address == path[1:-1]
    else:
        with pytest.raises(AddressError) as raised:
            parse_address(path[1:-1], utf8=row.get("utf8", False))
        assert raised.value.code in (550, 553)


@pytest.mark.parametrize("repeated", [b"@a,", b"(", b'"', b"<", b"a.", b"-"])
@pytest.mark.parametrize("stage", ["logged", "sender"])
async def test_d17_long_route_or_comment_is_refused(
    repeated: bytes, stage: str, server_tls: ServerTls
) -> None:
    verb = b"MAIL FROM:<" if stage == "logged" else b"RCPT TO:<"
    async with open_door(server_tls) as opened:
        talk = await opened.at(stage)
        reply = await talk.say(verb + (repeated * 1400)[:1400] + b"\r\n")
        assert reply.startswith("501")
        reply = await talk.say(verb + (repeated * 900)[:900] + b"\r\n")
        assert reply[:3] in ("501", "553")
        await talk.close()


@pytest.mark.parametrize("verb", [b"NOOP", b"RSET", b"VRFY x", b"HELP"])
@pytest.mark.parametrize("chunks", ["whole", "random"])
async def test_c11_commands_without_mail_are_limited(
    verb: bytes, chunks: str, server_tls: ServerTls
) -> None:
    async with open_door(server_tls) as opened:
        talk = await opened.connect()
        await talk.send(chunked((verb + b"\r\n") * 10_000, chunks))
        replies = await talk.rest()
        await talk.close()
    assert len(replies) == 101
    assert {reply[:1] for reply in replies[:100]} == {"2"}
    assert replies[100].startswith("421 4.7.0")


@pytest.mark.parametrize("size", [13_000, 1_400_000])
async def test_a11_password_of_a_megabyte_fails_as_any_other(
    size: int, server_tls: ServerTls
) -> None:
    async with open_door(server_tls) as opened:
        talk = await opened.at("greeted")
        await talk.send(chunked(b"AUTH PLAIN " + b"A" * size + b"\r\n", "random"))
        assert (await talk.reply()).startswith("535 5.7.8")
        assert (await talk.say(b"AUTH LOGIN\r\n")).startswith("334")
        assert (await talk.say(b"Ym9i\r\n")).startswith("334")
        await talk.send(chunked(b"A" * size + b"\r\n", "random"))
        assert (await talk.reply()).startswith("535 5.7.8")
        await check_end(talk, closes=False)
    assert opened.passwords.tried == []

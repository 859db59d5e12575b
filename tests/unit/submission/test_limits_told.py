"""Every limit that a client can meet is told by a reply of its own and counted under its name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from relay.submission import replies
from relay.submission.limits import GateLimits
from relay.submission.options import SessionLimits, SessionOptions
from relay.submission.tls import ServerTls
from tests.harness.smtp_talk import open_door

PAGE = Path(__file__).parents[3] / "docs" / "reliability.md"


@pytest.mark.parametrize("name", replies.LIMITS)
def test_each_reply_names_one_limit(name: str) -> None:
    reply = replies.LIMITS[name]
    assert replies.limits_in(b"250 2.0.0 OK\r\n" + reply + b"\r\n") == [name]
    assert reply[:1] in b"45"


def test_the_documented_limits_are_those_there_are() -> None:
    table = PAGE.read_text("utf-8").partition("## Limits")[2].partition("\n## ")[0]
    documented = re.findall(r"(?m)^\| `([a-z-]+)` \|", table)
    assert sorted(documented) == sorted(replies.LIMITS)


SMALL = SessionLimits(
    errors_soft=10, errors_hard=6, junk=4, recipients=2, messages=1, message=70_000,
    header_block=2000, error_delay=0.0, received=2,
)  # fmt: skip
MAIL = b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("command-line", [b"EHLO c.test\r\nNOOP " + b"x" * 600 + b"\r\n"]),
        ("errors", [b"EHLO c.test\r\n" + b"WHAT\r\n" * 6]),
        ("junk-commands", [b"EHLO c.test\r\n" + b"RSET\r\n" * 6]),
        ("recipients", [MAIL + b"RCPT TO:<e@d.test>\r\nRCPT TO:<f@d.test>\r\n"]),
        ("content-line", [MAIL, b"DATA\r\n", b"A: b\r\n\r\n" + b"x" * 2000 + b"\r\n.\r\n"]),
        ("message-size", [MAIL, b"DATA\r\n", b"A: b\r\n\r\n" + b"xxxxxx\r\n" * 9000 + b".\r\n"]),
        ("header-size", [MAIL, b"DATA\r\n", b"A: b\r\n" * 600 + b"\r\nx\r\n.\r\n"]),
        ("received-fields", [MAIL, b"DATA\r\n", b"Received: x\r\n" * 3 + b"\r\nx\r\n.\r\n"]),
        ("messages", [MAIL, b"DATA\r\n", b"A: b\r\n\r\nx\r\n.\r\n", b"MAIL FROM:<a@b.test>\r\n"]),
        ("room", [MAIL, b"DATA\r\n"]),
        ("connections", []),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_limit_that_is_met_is_counted(
    server_tls: ServerTls, name: str, said: list[bytes]
) -> None:
    gates = {"room": GateLimits(inflight=0), "connections": GateLimits(own_connections=0)}
    gate, options = (
        gates.get(name, GateLimits()),
        SessionOptions(hostname="mx.test", auth_required=False),
    )
    async with open_door(server_tls, options=options, limits=SMALL, gate=gate) as opened:
        talk = await opened.connect()
        content = False
        for octets in said:
            await talk.send([octets])
            for _ in range(1 if content else octets.count(b"\r\n")):
                await talk.reply()
            content = octets == b"DATA\r\n"
        await talk.close()
        assert opened.counts[f"limit_{name}"] == 1, opened.counts

"""Every limit that a client can meet is told by a reply of its own and counted under its name."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay.submission import replies
from relay.submission.limits import GateLimits
from relay.submission.options import SessionLimits, SessionOptions
from relay.submission.tls import ServerTls
from tests.harness.smtp_talk import Talk, open_door

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
HELLO = b"EHLO c.test\r\n"
MET: dict[str, list[bytes]] = {
    "command-line": [b"EHLO c.test\r\nNOOP " + b"x" * 600 + b"\r\n"],
    "errors": [b"EHLO c.test\r\n" + b"WHAT\r\n" * 6, b""],
    "junk-commands": [b"EHLO c.test\r\n" + b"RSET\r\n" * 6],
    "recipients": [MAIL + b"RCPT TO:<e@d.test>\r\nRCPT TO:<f@d.test>\r\n"],
    "content-line": [MAIL, b"DATA\r\n", b"A: b\r\n\r\n" + b"x" * 2000 + b"\r\n.\r\n"],
    "message-size": [MAIL, b"DATA\r\n", b"A: b\r\n\r\n" + b"xxxxxx\r\n" * 9000 + b".\r\n"],
    "header-size": [MAIL, b"DATA\r\n", b"A: b\r\n" * 600 + b"\r\nx\r\n.\r\n"],
    "received-fields": [MAIL, b"DATA\r\n", b"Received: x\r\n" * 3 + b"\r\nx\r\n.\r\n"],
    "messages": [MAIL, b"DATA\r\n", b"A: b\r\n\r\nx\r\n.\r\n", b"MAIL FROM:<a@b.test>\r\n"],
    "room": [MAIL, b"DATA\r\n"],
    "connections": [],
    "connections-address": [],
    "failed-logins": [HELLO, b"AUTH PLAIN AGJvYgB3cm9uZw==\r\n"],
    "failed-logins-account": [HELLO, b"AUTH PLAIN AGJvYgB3cm9uZw==\r\n"],
    "content-in-flight": [MAIL, b"DATA\r\n", b"A: b\r\n\r\n" + b"x\r\n" * 1000],
    "idle": [b""],
    "session-age": [b""],
    "data-rate": [MAIL, b"DATA\r\n", b""],
}
"""What is said to meet each limit; the reply to the last is the limit's."""
GATES = {
    "room": GateLimits(inflight=0),
    "connections": GateLimits(own_connections=0),
    "connections-address": GateLimits(connections_per_address=0),
    "failed-logins": GateLimits(failures_per_address=0),
    "failed-logins-account": GateLimits(failures_per_account=0),
    "content-in-flight": GateLimits(inflight=2000),
}
CLOCKS: dict[str, dict[str, Any]] = {
    "idle": {"idle": 0.0},
    "session-age": {"age": 0.0},
    "data-rate": {"data_window": 0.1},
}


def test_every_limit_is_met_below() -> None:
    elsewhere = {"load"}  # test_crowding.py
    assert set(MET) | elsewhere == set(replies.LIMITS)


@pytest.mark.parametrize("name", MET)
async def test_a_limit_that_is_met_is_told_and_counted(server_tls: ServerTls, name: str) -> None:
    options = SessionOptions(hostname="mx.test", auth_required=False, auth_needs_tls=False)
    async with open_door(
        server_tls,
        options=options,
        limits=replace(SMALL, **CLOCKS.get(name, {})),
        gate=GATES.get(name, GateLimits()),
        tick=0.02,
    ) as opened:
        talk = await Talk.connect(opened.listener.port)
        last = await talk.reply()
        content = False
        for octets in MET[name]:
            await talk.send([octets])
            for _ in range(1 if content or not octets else octets.count(b"\r\n")):
                last = await talk.reply() or last
            content = octets == b"DATA\r\n"
        await talk.close()
        wanted = "452 4.3.1" if name == "room" else replies.LIMITS[name].decode()
        documented = re.search(rf"(?m)^\| `{name}` \|.*\|(.*)\|$", PAGE.read_text("utf-8"))
        assert opened.counts[f"limit_{name}"] == 1, opened.counts
        assert last.startswith(wanted), last
        assert documented is not None
        assert wanted[:9] in documented[1]

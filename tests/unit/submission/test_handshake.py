"""A STARTTLS handshake that is broken off gives the connection's place back, on both event loops.

Until a handshake is done the TLS layer tells nobody that the connection is gone: the session has to
notice by itself, or a drain waits for it for ever and its address runs out of connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import pytest
import uvloop

from relay.submission.tls import ServerTls
from tests.harness.smtp_talk import open_door

HALF_A_HELLO = b"\x16\x03\x01\x02\x00\x01\x00"


async def break_off(server_tls: ServerTls, how: str) -> None:
    """Begin TLS, break off, and wait until the door is empty."""
    async with asyncio.timeout(20), open_door(server_tls) as opened:
        talk = await opened.at("greeted")
        assert (await talk.say(b"STARTTLS\r\n")).startswith("220")
        match how:
            case "reset":
                talk.reset()
            case "half":
                await talk.send([HALF_A_HELLO])
                await talk.close()
            case "cut":
                for session in tuple(opened.door.sessions):
                    session.cut()
        await opened.door.empty()
        await talk.close()


@pytest.mark.parametrize("how", ["reset", "half", "cut"])
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_handshake_broken_off_leaves_nothing(
    server_tls: ServerTls, how: str, run: Callable[[Coroutine[None, None, None]], None]
) -> None:
    run(break_off(server_tls, how))

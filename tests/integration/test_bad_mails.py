"""Rows M of the bad inputs through a running relay: what is refused, what goes out untouched, and
what is tracked all the same; whole and in plain text, cut at every line end and under TLS.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from relay.sandbox.reading import read
from tests.harness.bad_mails import SAME, TAKEN, BadMail, bad_mails
from tests.harness.provision import submission_door
from tests.harness.sink_route import SinkRoute, sink_route
from tests.harness.smtp_talk import Talk, chunked

pytestmark = [pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]
SMALL = 3000  # octets; larger mails are sent whole only


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def route(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SinkRoute]:
    more: dict[str, object] = {"max_errors": 1000}
    async with sink_route(
        tmp_path_factory.mktemp("bad"), workers=1, passwordless=True, submission=more
    ) as up:
        yield up


async def _talk(route: SinkRoute, kind: str) -> Talk:
    door = submission_door(route.relay, route.tenant, kind)
    talk = await Talk.connect(door.port, door.tls)
    assert (await talk.reply())[:3] == "220"
    assert (await talk.say(b"EHLO c.test\r\n"))[:3] == "250"
    if door.tls is not None:
        secret = base64.b64encode(f"\0{door.login}\0{door.password}".encode())
        assert (await talk.say(b"AUTH PLAIN " + secret + b"\r\n"))[:3] == "235"
    return talk


async def _submit(talk: Talk, recipient: str, content: bytes, chunks: str) -> str:
    """Submit a mail; give the reply."""
    to = b"RCPT TO:<" + recipient.encode() + b">\r\n"
    for line in (b"MAIL FROM:<news@news.test>\r\n", to):
        assert (await talk.say(line))[:3] == "250"
    assert (await talk.say(b"DATA\r\n"))[:3] == "354"
    stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
    await talk.send([*chunked(stuffed, chunks), b".\r\n"])
    return await talk.reply()


def _wrong(row: BadMail, found: bytes) -> str:
    """Say what is wrong with what became of a row that was taken, "" if nothing."""
    if row.expected == TAKEN:
        return ""
    if row.expected == SAME:
        return "" if found.endswith(row.content) else "it was changed"
    links = sum("/c/" in link for link in read(found).links)
    return "" if row.expected == f"links={links}" else f"delivered with {links} links"


@pytest.mark.parametrize(("kind", "chunks"), [("plain", "whole"), ("tls", "cr")])
async def test_rows_m(route: SinkRoute, kind: str, chunks: str) -> None:
    rows = {
        f"{kind}-{number}@inbox.test": row
        for number, row in enumerate(bad_mails())
        if chunks == "whole" or len(row.content) <= SMALL
    }
    wrong, taken = {}, []
    before = len(route.sink.bodies)
    talk = await _talk(route, kind)
    try:
        for recipient, row in rows.items():
            reply = await _submit(talk, recipient, row.content, chunks)
            if reply[:3] == "250" and not row.expected[:1].isdigit():
                taken.append(recipient)
            elif not reply.startswith(row.expected):
                wrong[row.id] = reply
    finally:
        await talk.close()
    await route.arrived(before + len(taken))
    found = zip(route.sink.got, route.sink.bodies, strict=True)
    bodies = {got.recipients[0]: body for got, body in found}
    for recipient in taken:
        row = rows[recipient]
        if problem := _wrong(row, bodies[recipient]):
            wrong[row.id] = problem
    assert wrong == {}
    assert "Traceback" not in route.relay.tail(1_000_000)

"""Rows B of the bad inputs at the inbound door of a running relay: who is suppressed by what, who
is refused before a word of the mail is read, and that nobody is ever answered by a mail of ours.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from bounces import verp
from relay.mail.keyring import KeyRing
from relay.sandbox.returns import Returned
from tests.harness.bad_returns import bad_returns
from tests.harness.sink_route import SinkRoute, sink_route
from tests.harness.smtp_talk import Talk, chunked

pytestmark = [pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]
PLAIN = b"From: news@news.test\r\nTo: x@inbox.test\r\nSubject: x\r\n\r\nx\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def route(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SinkRoute]:
    async with sink_route(tmp_path_factory.mktemp("returns"), workers=1) as up:
        yield up


async def _greeted(route: SinkRoute, door: str = "inbound") -> Talk:
    talk = await Talk.connect(route.relay.address(door)[1])
    assert (await talk.reply())[:3] == "220"
    assert (await talk.say(b"EHLO mx.inbox.test\r\n"))[:3] == "250"
    return talk


async def _deliver(route: SinkRoute, recipients: list[str]) -> dict[str, Returned]:
    """Send one mail to all; give each delivery as a reporter knows it."""
    talk = await _greeted(route, "plain")
    lines = [b"MAIL FROM:<news@news.test>\r\n"]
    lines += [b"RCPT TO:<%s>\r\n" % each.encode() for each in recipients]
    for line in lines:
        assert (await talk.say(line))[:3] == "250"
    assert (await talk.say(b"DATA\r\n"))[:3] == "354"
    assert (await talk.say(PLAIN + b".\r\n"))[:3] == "250"
    await talk.close()
    await route.arrived(len(recipients))
    found = zip(route.sink.got, route.sink.bodies, strict=True)
    return {
        got.recipients[0]: Returned(
            sender=got.sender, recipient=got.recipients[0], content=body, at=1.8e9
        )
        for got, body in found
    }


async def _hand_back(talk: Talk, to: str, content: bytes, chunks: str) -> str:
    assert (await talk.say(b"MAIL FROM:<>\r\n"))[:3] == "250"
    reply = await talk.say(b"RCPT TO:<%s>\r\n" % to.encode())
    if reply[:3] != "250":
        return reply
    assert (await talk.say(b"DATA\r\n"))[:3] == "354"
    stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
    await talk.send([*chunked(stuffed, chunks if len(content) < 10_000 else "whole"), b"\r\n.\r\n"])
    return await talk.reply()


async def _suppressed(route: SinkRoute) -> set[str]:
    found: set[str] = set()
    path = "/suppressions?limit=500"
    answer: dict[str, Any] = await route.ask("GET", path)
    found.update(item["recipient"] for item in answer["items"])
    return found


async def test_rows_b_suppress_who_they_may(route: SinkRoute) -> None:
    rows = {f"row-{number}@inbox.test": row for number, row in enumerate(bad_returns())}
    about = await _deliver(route, list(rows))
    talk = await _greeted(route)
    ways = ("whole", "cr", "random")
    for number, (recipient, row) in enumerate(rows.items()):
        returned = about[recipient]
        reply = await _hand_back(talk, returned.sender, row.made(returned), ways[number % 3])
        assert reply[:3] == "250", (row.id, reply)
    await talk.close()
    last = next(reversed(rows))

    async def folded() -> bool:
        return last in await _suppressed(route)

    await route.relay.until(folded, "the last of the reports to suppress")
    suppressed = await _suppressed(route)
    wrong = {row.id for to, row in rows.items() if (to in suppressed) is not row.suppresses}
    assert wrong == set()
    assert len(route.sink.bodies) == len(rows), "no report was answered by a mail"
    assert "Traceback" not in route.relay.tail(1_000_000)


async def test_b01_b10_who_has_no_signed_address_is_refused_at_rcpt(route: SinkRoute) -> None:
    good = (await _address(route)).encode()
    local, _, domain = good.partition(b"@")
    other = verp.mint(7, 1, domain.decode(), KeyRing.of(b"x" * 32))
    at = len(local) // 2
    forged = [
        local[:at] + (b"a" if local[at : at + 1] != b"a" else b"b") + local[at + 1 :],
        local[:-1],
        local + b"a",
        local + b"=",
        b"b+",
        b"b",
        b"c" + local[1:],
        local.replace(b"b+", b"b-", 1),
        b'"' + local + b'"@x',
    ]
    addresses = [each + b"@" + domain for each in forged]
    addresses += [other, b"postmaster@" + domain, b"abuse@" + domain, b"ann@inbox.test"]
    addresses += [local + b"@elsewhere.test", b"a%b.test@" + domain, b"a!b@" + domain]
    talk = await _greeted(route)
    for number, address in enumerate(addresses):
        if number % 8 == 0:  # errors are counted; more than these would end the connection
            await talk.close()
            talk = await _greeted(route)
            assert (await talk.say(b"MAIL FROM:<>\r\n"))[:3] == "250"
        reply = await talk.say(b"RCPT TO:<" + address + b">\r\n")
        assert re.match(r"550 5\.1\.1|553 5\.1\.3|501 5\.1\.3", reply), (address, reply)
    assert (await talk.say(b"DATA\r\n"))[:3] == "503", "nothing to read a mail for"
    # The control: the address that was forged is itself a good one, in any case of its letters.
    for right in (good, good.upper()):
        assert (await talk.say(b"RCPT TO:<" + right + b">\r\n"))[:3] == "250"
    await talk.close()


async def _address(route: SinkRoute) -> str:
    if not route.sink.got:
        await _deliver(route, ["one@inbox.test"])
    return route.sink.got[0].sender


async def test_b10_null_senders_in_bulk_are_refused_and_nothing_is_sent_back(
    route: SinkRoute,
) -> None:
    """That the connection ends at some error is the row C10; it costs ten seconds of penalties."""
    before = len(route.sink.bodies)
    talk = await _greeted(route)
    await talk.send([b"MAIL FROM:<>\r\nRCPT TO:<nobody@inbox.test>\r\nRSET\r\n" * 2000])
    replies = [await talk.reply() for _ in range(15)]
    await talk.close()
    assert [reply[:9] for reply in replies] == ["250 2.1.0", "550 5.1.1", "250 2.0.0"] * 5
    again = await _greeted(route)
    await again.close()
    assert len(route.sink.bodies) == before


async def test_b11_the_token_decides_who_unsubscribes_and_not_from(route: SinkRoute) -> None:
    forged = b"From: <victim@inbox.test>\r\nSubject: unsubscribe\r\n\r\n"
    talk = await _greeted(route)
    address = await _address(route)
    local, _, domain = address.partition("@")
    reply = await _hand_back(talk, f"u{local[1:]}@{domain}", forged, "whole")
    assert reply[:3] == "550", "a return path is no address to unsubscribe at"
    await talk.close()
    assert "victim@inbox.test" not in await _suppressed(route)

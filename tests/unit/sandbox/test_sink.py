"""The sink over real sockets: exact octets, the record before the reply, and every fault."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from relay.sandbox.dialogue import Dialogue
from relay.sandbox.faults import How, Stage
from relay.sandbox.session import Arrival
from relay.sandbox.sink import Sink, Tries, read_record, scripted

MAIL = b"Message-ID: <1@client.test>\r\nSubject: x\r\n\r\n.dots\r\n..\r\n.\r\nend\r\n"
SENDER = b"news@shop.test"


@asynccontextmanager
async def open_sink(sink: Sink) -> AsyncIterator[tuple[str, int]]:
    """Open a sink for the length of a block."""
    try:
        yield await sink.start()
    finally:
        await sink.close()


async def test_octets_and_envelope_are_exact(tmp_path: Path) -> None:
    sink = Sink(tmp_path / "record", keep=tmp_path / "kept")
    async with open_sink(sink) as where, Dialogue(*where) as client:
        said = await client.send(SENDER, (b"ann@a.test", b"bob@b.test"), MAIL)
        assert said.code == 250
    assert sink.bodies == [MAIL]
    assert (tmp_path / "kept" / "000001.eml").read_bytes() == MAIL
    (got,) = read_record(tmp_path / "record")
    assert got == sink.got[0]
    assert got.sender == "news@shop.test"
    assert got.recipients == ("ann@a.test", "bob@b.test")
    assert got.message_id == "<1@client.test>"
    assert got.taken
    assert not got.uncertain


async def test_smtplib_speaks_with_it() -> None:
    sink = Sink()
    async with open_sink(sink) as (host, port):

        def send() -> None:
            with smtplib.SMTP(host, port, timeout=10) as client:
                client.sendmail("a@x.test", ["b@y.test"], MAIL)
                assert client.noop()[0] == 250
                assert client.rset()[0] == 250
                assert client.vrfy("b")[0] == 252

        await asyncio.to_thread(send)
    assert sink.bodies == [MAIL]


async def test_a_pipelined_group_is_answered_in_order() -> None:
    sink = Sink()
    async with open_sink(sink) as where:
        reader, writer = await asyncio.open_connection(*where)
        writer.write(
            b"EHLO c\r\nMAIL FROM:<a@x.test> BODY=8BITMIME\r\nRCPT TO:<550-rcpt@y.test>\r\n"
            b"RCPT TO:<b@y.test>\r\nDATA\r\nhi\r\n.\r\n"
            b"MAIL FROM:<c@x.test>\r\nDATA\r\nBAD\r\nQUIT\r\n"
        )
        answer = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
    codes = [line[:3] for line in answer.split("\r\n") if line and line[3] == " "]
    assert codes == ["220", "250", "250", "550", "250", "354", "250", "250", "554", "500", "221"]
    assert sink.bodies == [b"hi\r\n"]
    assert sink.got[0].recipients == ("b@y.test",)


async def test_the_record_is_written_before_the_reply(tmp_path: Path) -> None:
    record = tmp_path / "record"
    seen: list[int] = []
    told: list[str] = []

    async def take(_arrival: Arrival, _decision: str) -> None:
        seen.append(len(read_record(record)))
        assert not told

    sink = Sink(record, take=take, told=lambda _a, decision: told.append(decision))
    async with open_sink(sink) as where, Dialogue(*where) as client:
        assert (await client.send(SENDER, (b"ann@a.test",), MAIL)).code == 250
    assert seen == [1]
    assert told == ["250 2.0.0 Taken as 1"]


@pytest.mark.parametrize("stage", ["rcpt", "data", "dot"])
@pytest.mark.parametrize("code", [450, 451, 452, 550, 552, 554])
async def test_replies_by_stage(stage: str, code: int) -> None:
    sink = Sink()
    async with open_sink(sink) as where, Dialogue(*where) as client:
        said = await client.send(SENDER, (f"ann@{code}-{stage}.test".encode(),), MAIL)
        assert said.code == code
        assert (await client.send(SENDER, (b"bob@fine.test",), MAIL)).code == 250
    assert [got.decision[:3] for got in sink.got] == [str(code)] * (stage == "dot") + ["250"]


async def test_deferred_so_often_and_then_taken() -> None:
    sink = Sink()
    async with open_sink(sink) as where, Dialogue(*where) as client:
        for recipient in (b"defer2-ann@a.test", b"bob@defer2-data.test", b"defer2-dot@a.test"):
            codes = [(await client.send(SENDER, (recipient,), MAIL)).code for _ in range(3)]
            assert codes == [451, 451, 250]


@pytest.mark.parametrize(
    ("name", "recorded"),
    [
        ("drop-at-rcpt", []),
        ("drop-at-data", []),
        ("drop-before-dot", []),
        ("rst-data", []),
        ("drop-after-dot", ["drop"]),
        ("rst-dot", ["reset"]),
    ],
)
async def test_broken_connections(name: str, recorded: list[str]) -> None:
    sink = Sink()
    async with open_sink(sink) as where:
        with pytest.raises((EOFError, OSError)):
            async with Dialogue(*where) as client:
                await client.send(SENDER, (f"ann@{name}.test".encode(),), MAIL * 1000)
    assert [got.decision for got in sink.got] == recorded
    assert all(got.uncertain for got in sink.got)


async def test_421_closes() -> None:
    async with open_sink(Sink()) as where, Dialogue(*where) as client:
        assert (await client.send(b"a@x.test", (b"b@421-rcpt.test",), MAIL)).code == 421
        with pytest.raises((EOFError, OSError)):
            await client.say(b"NOOP")


async def test_slow_answers_come() -> None:
    sink = Sink()
    async with open_sink(sink) as where, Dialogue(*where) as client:
        assert (await client.send(SENDER, (b"slow-data1@a.test",), MAIL)).code == 250
        assert (await client.send(SENDER, (b"slow1@a.test",), MAIL)).code == 250


async def test_faults_before_a_recipient_is_known() -> None:
    sink = Sink()
    sink.script = [
        scripted(How.REPLY, Stage.BANNER, "554 5.3.2 No service"),
        scripted(How.DROP, Stage.EHLO),
        scripted(How.REPLY, Stage.MAIL, "450 4.1.8 Not now"),
    ]
    async with open_sink(sink) as where:
        for _ in range(2):
            with pytest.raises((EOFError, OSError)):
                async with Dialogue(*where):
                    pass
        async with Dialogue(*where) as client:
            assert (await client.send(SENDER, (b"ann@a.test",), MAIL)).code == 450
            assert (await client.send(SENDER, (b"ann@a.test",), MAIL)).code == 250


async def test_starttls() -> None:
    authority = trustme.CA()
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server_side)
    client_side = ssl.create_default_context()
    authority.configure_trust(client_side)
    sink = Sink(tls=server_side)
    async with open_sink(sink) as where, Dialogue(*where) as client:
        assert "STARTTLS" in client.extensions
        await client.starttls(client_side)
        assert "STARTTLS" not in client.extensions
        assert (await client.send(SENDER, (b"ann@a.test",), MAIL)).code == 250
        assert (await client.say(b"STARTTLS")).code == 503
    assert sink.got[0].tls.startswith("TLSv1")


def test_tries_are_bounded() -> None:
    tries = Tries(limit=2)
    for name in (b"defer1-a@x.test", b"defer1-b@x.test", b"defer1-c@x.test"):
        assert tries(Stage.RCPT, name) is not None
    assert tries(Stage.RCPT, b"defer1-c@x.test") is None
    assert tries(Stage.RCPT, b"defer1-a@x.test") is not None  # forgotten: it is shown again


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    record = tmp_path / "record"
    record.write_text('{"number": 1')
    assert read_record(record) == []

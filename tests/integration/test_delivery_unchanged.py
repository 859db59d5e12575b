"""What arrives is what was sent: 1,000 varied mails into servers that others wrote."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from relay.delivery.outgoing import Outgoing, Verdict
from relay.delivery.route import Route, Smarthost, TlsLevel
from tests.harness.odd_mails import odd_mails
from tests.harness.outbound import Jobs, mail_to, transport_for_tests
from tests.harness.programs import need_program


def mails(count: int) -> list[Outgoing]:
    """Give odd mails as delivery has them."""
    return [
        mail_to(
            f"{local}@inbox.test",
            content,
            delivery=number,
            utf8=utf8,
            eightbit=not content.isascii(),
        )
        for number, (local, utf8, content) in enumerate(odd_mails(count))
    ]


class Keeper:
    """Keeps what aiosmtpd hands it."""

    def __init__(self) -> None:
        """Start empty."""
        self.kept: dict[str, bytes] = {}

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        """Keep one message."""
        assert isinstance(envelope.original_content, bytes)
        self.kept[envelope.rcpt_tos[0]] = envelope.original_content
        return "250 2.0.0 kept"


@pytest.fixture
async def keeper() -> AsyncIterator[tuple[Keeper, int]]:
    """Run aiosmtpd on a free port; it offers no PIPELINING."""
    handler = Keeper()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(handler, hostname="mx.test", enable_SMTPUTF8=True, loop=loop), "127.0.0.1", 0
    )
    yield handler, server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


def route_to_port(port: int) -> Route:
    """Give the route."""
    smarthost = Smarthost(host="127.0.0.1", port=port)
    return Route(destination="inbox.test", smarthost=smarthost, tls=TlsLevel.OPPORTUNISTIC)


async def test_a_thousand_mails_into_aiosmtpd(keeper: tuple[Keeper, int]) -> None:
    """One command at a time, BODY=8BITMIME, SMTPUTF8: every byte is there."""
    handler, port = keeper
    sent = mails(1000)
    transport = transport_for_tests()
    lanes = [Jobs(sent[n::4]) for n in range(4)]
    await asyncio.gather(*(transport.run(route_to_port(port), jobs.take) for jobs in lanes))
    await transport.close()
    refused = [
        o.text for jobs in lanes for o in jobs.outcomes if o.verdict is not Verdict.DELIVERED
    ]
    assert refused == []
    assert {mail.recipient.decode(): mail.content for mail in sent} == handler.kept


@pytest.fixture
def smtp_sink() -> Iterator[tuple[int, Path]]:
    """Run Postfix's smtp-sink, which pipelines and writes each mail to a file (as user nobody)."""
    program = need_program("smtp-sink")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        port = free_port()
        process = subprocess.Popen(  # a fixed program with our own arguments
            [program, "-u", "nobody", "-d", "%M.", f"127.0.0.1:{port}", "100"], cwd=folder
        )
        yield port, folder
        process.terminate()
        process.wait(10)


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def dumped(folder: Path) -> dict[bytes, bytes]:
    """Give what smtp-sink wrote, by recipient; it writes LF line ends and a Received field."""
    found = {}
    for path in folder.iterdir():
        raw = path.read_bytes()
        recipient = raw.partition(b"X-Rcpt-Args: <")[2].partition(b">")[0]
        found[recipient] = raw.partition(b"(UTC)\n")[2][:-1]  # it ends each file with one more
    return found


async def test_a_thousand_mails_into_postfix_s_sink(smtp_sink: tuple[int, Path]) -> None:
    """Pipelined, the next envelope behind each content: every line is there."""
    port, folder = smtp_sink
    sent = [mail for mail in mails(1000) if not mail.utf8]  # smtp-sink knows no SMTPUTF8
    transport = transport_for_tests()
    while True:  # until it listens
        probe = await transport.deliver(route_to_port(port), lambda: sent[0])
        if probe.verdict is Verdict.DELIVERED:
            break
        await asyncio.sleep(0.05)
    lanes = [Jobs(sent[n::4]) for n in range(4)]
    await asyncio.gather(*(transport.run(route_to_port(port), jobs.take) for jobs in lanes))
    await transport.close()
    refused = [
        o.text for jobs in lanes for o in jobs.outcomes if o.verdict is not Verdict.DELIVERED
    ]
    assert refused == []
    got = dumped(folder)
    assert {mail.recipient: mail.content.replace(b"\r\n", b"\n") for mail in sent} == got

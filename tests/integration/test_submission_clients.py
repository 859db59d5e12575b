"""Real clients hand in mail: smtplib and swaks, by STARTTLS, by implicit TLS and in plain text."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.submission.tls import ServerTls
from tests.harness.programs import need_program
from tests.harness.smtp_talk import OpenDoor, make_tls, open_door

PASSWORD = "correct horse"


@pytest.fixture(scope="session")
def server_tls(tmp_path_factory: pytest.TempPathFactory) -> ServerTls:
    return make_tls(tmp_path_factory.mktemp("tls"))


TEXT = "Subject: News\n\nHello\n.a line with a dot\n..\n.\n" + "long line " * 90 + "\n\nend\n"
RECIPIENTS = ["ann@inbox.test", "bob@inbox.test"]


def send_starttls(opened: OpenDoor) -> None:
    with smtplib.SMTP("localhost", opened.listener.port) as client:
        client.starttls(context=opened.trust)
        client.login("bob", PASSWORD)
        client.sendmail("news@shop.test", RECIPIENTS, TEXT)
        client.sendmail("news@shop.test", RECIPIENTS, TEXT)


def send_implicit(opened: OpenDoor) -> None:
    with smtplib.SMTP_SSL("localhost", opened.secure.port, context=opened.trust) as client:
        client.login("bob", PASSWORD)
        client.sendmail("news@shop.test", RECIPIENTS, TEXT)


@pytest.mark.parametrize(("send", "count"), [(send_starttls, 2), (send_implicit, 1)])
async def test_smtplib_hands_in_unchanged(
    send: Callable[[OpenDoor], None], count: int, server_tls: ServerTls
) -> None:
    async with open_door(server_tls) as opened:
        await asyncio.to_thread(send, opened)
    recorder = opened.recorder
    assert len(recorder.envelopes) == count
    for envelope, session in zip(recorder.envelopes, recorder.sessions, strict=True):
        assert envelope.content == TEXT.replace("\n", "\r\n").encode()
        assert str(envelope.sender) == "news@shop.test"
        assert [str(each.mailbox) for each in envelope.recipients] == RECIPIENTS
        assert session.tls is not None
        assert session.login.name == b"bob"


async def test_smtplib_is_told_what_is_wrong(server_tls: ServerTls) -> None:
    def wrong(opened: OpenDoor) -> None:
        with smtplib.SMTP("localhost", opened.listener.port) as client:
            client.starttls(context=opened.trust)
            with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
                client.login("bob", "wrong")
            assert refused.value.smtp_code == 535
            with pytest.raises(smtplib.SMTPSenderRefused):
                client.sendmail("a@b.test", ["c@d.test"], b"x")
        untrusting = ssl.create_default_context()
        with (
            smtplib.SMTP("localhost", opened.listener.port) as client,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            client.starttls(context=untrusting)

    async with open_door(server_tls) as opened:
        await asyncio.to_thread(wrong, opened)
    assert opened.recorder.envelopes == []


async def test_smtplib_uses_smtputf8(server_tls: ServerTls) -> None:
    def send(opened: OpenDoor) -> None:
        with smtplib.SMTP_SSL("localhost", opened.secure.port, context=opened.trust) as client:
            client.login("bob", PASSWORD)
            client.sendmail(
                "jörg@bücher.example",
                ["ü@d.test"],
                "Subject: ü\r\n\r\nx\r\n".encode(),
                ["SMTPUTF8"],
            )

    async with open_door(server_tls) as opened:
        await asyncio.to_thread(send, opened)
    envelope = opened.recorder.envelopes[0]
    assert envelope.smtputf8
    assert envelope.sender is not None
    assert envelope.sender.routing_domain == "xn--bcher-kva.example"


SWAKS = {
    "plain": [],
    "starttls": ["--tls"],
    "implicit": ["--tls-on-connect"],
    "pipeline": ["--tls", "--pipeline"],
    "login": ["--tls", "--auth", "LOGIN"],
}


@pytest.mark.parametrize("how", SWAKS)
async def test_swaks_hands_in(how: str, server_tls: ServerTls, tmp_path: Path) -> None:
    swaks = need_program("swaks")
    data = tmp_path / "mail"
    data.write_text("Subject: a\n\n.dot\n..\nend\n")
    async with open_door(server_tls) as opened:
        port = (opened.secure if how == "implicit" else opened.listener).port
        process = await asyncio.create_subprocess_exec(
            *(swaks, "--server", "127.0.0.1", "--port", str(port), "--ehlo", "client.test"),
            *("--from", "a@b.test", "--to", "c@d.test,e@f.test", "--data", f"@{data}"),
            *("--auth-user", "bob", "--auth-password", PASSWORD, *SWAKS[how]),
            *(() if "--auth" in SWAKS[how] else ("--auth", "PLAIN")),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    envelope = opened.recorder.envelopes[0]
    assert envelope.content == b"Subject: a\r\n\r\n.dot\r\n..\r\nend\r\n\r\n"
    assert len(envelope.recipients) == 2
    assert (opened.recorder.sessions[0].tls is None) == (how == "plain")

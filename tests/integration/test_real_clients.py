"""Clients that applications really use hand in over STARTTLS with a password, and their mail
arrives: smtplib, swaks, curl, msmtp, PHPMailer, Nodemailer, Django, and Postfix whose relayhost we
are.
"""

from __future__ import annotations

import asyncio
import smtplib
import socket
import subprocess
from collections.abc import AsyncIterator
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest
import pytest_asyncio

from bench.postfix import Postfix
from tests.harness.clients import CLIENTS, TEXT, Call, Login
from tests.harness.mail_servers import need_root, open_way
from tests.harness.odd_mails import odd_mails
from tests.harness.programs import need_program
from tests.harness.sink_route import SinkRoute, sink_route

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

RELAYHOST = """
relayhost = [{host}]:{port}
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = inline:{{ {{ [{host}]:{port} = {user}:{password} }} }}
smtp_sasl_security_options = noanonymous
smtp_tls_security_level = encrypt
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def route(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SinkRoute]:
    """One relay for all clients."""
    folder = tmp_path_factory.mktemp("clients")
    async with sink_route(folder, workers=1, passwordless=False) as up:
        yield up


def login(route: SinkRoute) -> Login:
    """Give the door and the password."""
    host, port = route.relay.address("submission")
    return Login(host=host, port=port, user=route.tenant.login, password=route.tenant.password)


async def run(call: Call) -> None:
    """Run a client; it must succeed."""
    done = await asyncio.to_thread(
        subprocess.run, call.command, input=call.given, capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode("utf-8", "replace")


async def body_to(route: SinkRoute, recipient: str) -> bytes:
    """Wait for the mail whose To: is this; give it."""
    field = f"\r\nTo: {recipient}\r\n".encode()

    async def there() -> bool:
        return any(field in body for body in route.sink.bodies)

    await route.relay.until(there, f"the mail to {recipient} to arrive", 20)
    (body,) = [body for body in route.sink.bodies if field in body]
    return body


@pytest.mark.parametrize("name", CLIENTS)
async def test_a_client_hands_in(route: SinkRoute, tmp_path: Path, name: str) -> None:
    await run(CLIENTS[name](login(route), tmp_path))
    to = f"{name}@inbox.test"
    body = await body_to(route, to)
    assert b"X-Waypost-Campaign" not in body
    parsed = message_from_bytes(body, policy=default)
    assert parsed["Subject"] == f"from {name}"
    assert parsed.get_content().replace("\r\n", "\n").rstrip("\n") == TEXT.rstrip("\n")
    if name == "django":  # send_mail cannot set headers, EmailMessage can
        to = "django-headers@inbox.test"
        assert b"X-Waypost-Campaign" not in await body_to(route, to)

    async def in_campaign() -> bool:
        answer = await route.ask("GET", f"/deliveries?recipient={to}")
        return [one["campaign"] for one in answer["items"]] == ["spring"]

    await route.relay.until(in_campaign, f"{to} to be in its campaign", 20)


async def test_postfix_whose_relayhost_we_are_hands_in(route: SinkRoute, tmp_path: Path) -> None:
    """By SASL and STARTTLS; what was given to Postfix arrives unchanged."""
    need_root()
    need_program("postfix")
    open_way(tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    who = login(route)
    extra = RELAYHOST.format(host=who.host, port=who.port, user=who.user, password=who.password)
    mails = [content for _, _, content in odd_mails(20)]
    wanted = [content.replace(b"Subject: ", b"Subject: by Postfix ", 1) for content in mails]

    def submit() -> None:
        with smtplib.SMTP("127.0.0.1", port) as client:
            for content in wanted:
                envelope = ("news@shop.test", ["postfix@inbox.test"])
                client.sendmail(*envelope, content, ["BODY=8BITMIME"])

    async def all_there() -> bool:
        return sum(b"\r\nSubject: by Postfix " in body for body in route.sink.bodies) == len(wanted)

    with Postfix(tmp_path / "postfix", port=port, sink=port, extra=extra):
        await asyncio.to_thread(submit)
        await route.relay.until(all_there, "Postfix's mails to arrive", 40)
    found = [body for body in route.sink.bodies if b"\r\nSubject: by Postfix " in body]
    # Postfix adds Date and Message-ID behind the fields that are there; what follows is untouched.
    assert sorted(map(text_of, found)) == sorted(map(text_of, wanted))


def text_of(mail: bytes) -> bytes:
    """Give the Subject and everything behind the header."""
    head, _, text = mail.partition(b"\r\n\r\n")
    return (b"\r\n" + head).partition(b"\r\nSubject: ")[2].partition(b"\r\n")[0] + text

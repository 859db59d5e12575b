"""Clients that applications really use hand in over STARTTLS with a password, and their mail
arrives: msmtp, PHPMailer, Nodemailer, Django. (smtplib, swaks and curl have tests of their own.)

Libraries that are no Debian package are found by a variable and skipped visibly without it:
WAYPOST_TEST_NODEMAILER (the unpacked npm package), WAYPOST_TEST_DJANGO (a Python that has Django).
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from tests.harness.programs import need_program
from tests.harness.sink_route import SinkRoute, sink_route

pytestmark = pytest.mark.timeout(120)
TEXT = "Grüße\n.\n..two\nlast\n"

PHP = """<?php
require '/usr/share/php/libphp-phpmailer/autoload.php';
$mail = new PHPMailer\\PHPMailer\\PHPMailer(true);
$mail->isSMTP(); $mail->Host = '127.0.0.1'; $mail->Port = (int)$argv[1];
$mail->SMTPAuth = true; $mail->Username = $argv[2]; $mail->Password = $argv[3];
$mail->SMTPSecure = 'tls'; $mail->CharSet = 'UTF-8';
$mail->SMTPOptions = ['ssl' => ['verify_peer' => false, 'verify_peer_name' => false,
                                'allow_self_signed' => true]];
$mail->setFrom('news@plain.test'); $mail->addAddress('ann@inbox.test');
$mail->Subject = 'from a client'; $mail->Body = $argv[4];
$mail->addCustomHeader('X-Waypost-Campaign', 'spring');
$mail->send();
"""
NODE = """
const [, , folder, port, user, pass, text] = process.argv;
const mailer = require(folder).createTransport({
  host: '127.0.0.1', port: Number(port), requireTLS: true, auth: {user, pass},
  tls: {rejectUnauthorized: false},
});
mailer.sendMail({
  from: 'news@plain.test', to: 'ann@inbox.test', subject: 'from a client', text,
  headers: {'X-Waypost-Campaign': 'spring'},
}).then(() => mailer.close());
"""
DJANGO = """
import ssl, sys
from django.conf import settings
port, user, password, text = sys.argv[1:]
settings.configure(
    EMAIL_HOST="127.0.0.1", EMAIL_PORT=int(port), EMAIL_USE_TLS=True,
    EMAIL_HOST_USER=user, EMAIL_HOST_PASSWORD=password,
)
from django.core.mail import EmailMessage
from django.core.mail.backends.smtp import EmailBackend
EmailBackend.ssl_context = ssl._create_unverified_context()
EmailMessage("from a client", text, "news@plain.test", ["ann@inbox.test"],
             headers={"X-Waypost-Campaign": "spring"}, connection=EmailBackend()).send()
"""


@pytest.fixture
async def route(tmp_path: Path) -> AsyncIterator[SinkRoute]:
    async with sink_route(tmp_path, workers=1, passwordless=False) as up:
        yield up


async def run(command: Sequence[str], given: bytes = b"") -> None:
    """Run a client; it must succeed."""
    done = await asyncio.to_thread(
        subprocess.run, command, input=given, capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode("utf-8", "replace")


async def check_arrival(route: SinkRoute) -> None:
    """Wait for the one mail; it carries the text and no control header."""

    async def there() -> bool:
        return bool(route.sink.bodies)

    await route.relay.until(there, "the mail to arrive", 20)
    (body,) = route.sink.bodies
    assert b"X-Waypost-Campaign" not in body
    assert b"from a client" in body
    assert b"\r\n..two" in body or b"Li50d28" in body or b"=2E.two" in body


def who(route: SinkRoute) -> tuple[str, str, str]:
    """Give port, login and password."""
    port = str(route.relay.address("submission")[1])
    return port, route.tenant.login, route.tenant.password


def need_set(variable: str) -> str:
    """Give what a variable says; skips the test without it."""
    found = os.environ.get(variable, "")
    if not found:
        pytest.skip(f"{variable} is not set")
    return found


def need_phpmailer() -> None:
    """Skip the test without Debian's package."""
    if not Path("/usr/share/php/libphp-phpmailer/autoload.php").exists():
        pytest.skip("libphp-phpmailer is not installed")


async def test_msmtp(route: SinkRoute) -> None:
    msmtp = need_program("msmtp")
    port, user, password = who(route)
    mail = (
        "From: news@plain.test\nTo: ann@inbox.test\nSubject: from a client\n"
        f"X-Waypost-Campaign: spring\nContent-Type: text/plain; charset=utf-8\n\n{TEXT}"
    )
    options = ("--host=127.0.0.1", f"--port={port}", "--tls=on", "--tls-certcheck=off")
    login = ("--auth=plain", f"--user={user}", f"--passwordeval=echo {password}")
    envelope = ("--from=news@plain.test", "ann@inbox.test")
    await run((msmtp, "-C", os.devnull, *options, *login, *envelope), mail.encode())
    await check_arrival(route)


async def test_phpmailer(route: SinkRoute, tmp_path: Path) -> None:
    php = need_program("php")
    need_phpmailer()
    script = tmp_path / "send.php"
    script.write_text(PHP)
    await run((php, str(script), *who(route), TEXT))
    await check_arrival(route)


async def test_nodemailer(route: SinkRoute, tmp_path: Path) -> None:
    node = need_program("node")
    folder = need_set("WAYPOST_TEST_NODEMAILER")
    script = tmp_path / "send.cjs"
    script.write_text(NODE)
    await run((node, str(script), folder, *who(route), TEXT))
    await check_arrival(route)


async def test_django(route: SinkRoute, tmp_path: Path) -> None:
    python = need_set("WAYPOST_TEST_DJANGO")
    script = tmp_path / "send.py"
    script.write_text(DJANGO)
    await run((python, str(script), *who(route), TEXT))
    await check_arrival(route)

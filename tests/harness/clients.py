"""Programs and libraries that applications send mail with, each told to hand in one mail over
STARTTLS with a password, as its own manual says.

The mail has dot lines and 8-bit letters, goes to NAME@inbox.test, and names a campaign.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.harness.programs import need_file, need_program

TEXT = "Grüße\n.\n..two\nlast\n"
PHPMAILER = Path("/usr/share/php/libphp-phpmailer/autoload.php")
NODEMAILER = Path("/usr/share/nodejs/nodemailer")
DEBIAN_PYTHON = Path("/usr/bin/python3")

_MAIL = (
    "From: news@plain.test\nTo: {name}@inbox.test\nSubject: from {name}\n"
    "X-Waypost-Campaign: spring\nMIME-Version: 1.0\n"
    "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + TEXT
)
_SMTPLIB = """
import smtplib, ssl, sys
from email.message import EmailMessage
host, port, user, password, text = sys.argv[1:]
mail = EmailMessage()
mail["From"], mail["To"], mail["Subject"] = "news@plain.test", "smtplib@inbox.test", "from smtplib"
mail["X-Waypost-Campaign"] = "spring"
mail.set_content(text)
with smtplib.SMTP(host, int(port)) as client:
    client.starttls(context=ssl._create_unverified_context())
    client.login(user, password)
    client.send_message(mail)
"""
_PHP = """<?php
require $argv[1];
$mail = new PHPMailer\\PHPMailer\\PHPMailer(true);
$mail->isSMTP(); $mail->Host = $argv[2]; $mail->Port = (int)$argv[3];
$mail->SMTPAuth = true; $mail->Username = $argv[4]; $mail->Password = $argv[5];
$mail->SMTPSecure = 'tls'; $mail->CharSet = 'UTF-8';
$mail->SMTPOptions = ['ssl' => ['verify_peer' => false, 'verify_peer_name' => false,
                                'allow_self_signed' => true]];
$mail->setFrom('news@plain.test'); $mail->addAddress('phpmailer@inbox.test');
$mail->Subject = 'from phpmailer'; $mail->Body = $argv[6];
$mail->addCustomHeader('X-Waypost-Campaign', 'spring');
$mail->send();
"""
_NODE = """
const [, , folder, host, port, user, pass, text] = process.argv;
const mailer = require(folder).createTransport({
  host, port: Number(port), requireTLS: true, auth: {user, pass},
  tls: {rejectUnauthorized: false},
});
mailer.sendMail({
  from: 'news@plain.test', to: 'nodemailer@inbox.test', subject: 'from nodemailer', text,
  headers: {'X-Waypost-Campaign': 'spring'},
}).then(() => mailer.close());
"""
_DJANGO = """
import ssl, sys
from django.conf import settings
host, port, user, password, text = sys.argv[1:]
settings.configure(
    EMAIL_HOST=host, EMAIL_PORT=int(port), EMAIL_USE_TLS=True,
    EMAIL_HOST_USER=user, EMAIL_HOST_PASSWORD=password,
)
from django.core.mail import EmailMessage, send_mail
from django.core.mail.backends.smtp import EmailBackend
EmailBackend.ssl_context = ssl._create_unverified_context()  # where Django asks for one
send_mail("from django", text, "news@plain.test", ["django@inbox.test"])
EmailMessage("with headers", text, "news@plain.test", ["django-headers@inbox.test"],
             headers={"X-Waypost-Campaign": "spring"}).send()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Where to hand in, and as whom."""

    host: str
    port: int
    user: str
    password: str

    @property
    def words(self) -> tuple[str, str, str, str]:
        """Give them as arguments of a program."""
        return self.host, str(self.port), self.user, self.password


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What to run, and what it reads from standard input."""

    command: tuple[str, ...]
    given: bytes = b""


def _script(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def _smtplib(login: Login, folder: Path) -> Call:
    script = _script(folder, "with_smtplib.py", _SMTPLIB)
    return Call(command=(str(DEBIAN_PYTHON), script, *login.words, TEXT))


def _swaks(login: Login, folder: Path) -> Call:
    mail = _script(folder, "swaks.eml", _MAIL.format(name="swaks"))
    who = ("--auth", "PLAIN", "--auth-user", login.user, "--auth-password", login.password)
    envelope = ("--from", "news@plain.test", "--to", "swaks@inbox.test", "--data", f"@{mail}")
    door = ("--server", login.host, "--port", str(login.port), "--tls")
    return Call(command=(need_program("swaks"), *door, *who, *envelope))


def _curl(login: Login, folder: Path) -> Call:
    mail = _script(folder, "curl.eml", _MAIL.format(name="curl").replace("\n", "\r\n"))
    door = (f"smtp://{login.host}:{login.port}/client.test", "--ssl-reqd", "--insecure")
    who = ("--user", f"{login.user}:{login.password}")
    envelope = ("--mail-from", "news@plain.test", "--mail-rcpt", "curl@inbox.test")
    command = (need_program("curl"), "-sS", *door, *who, *envelope, "--upload-file", mail)
    return Call(command=command)


def _msmtp(login: Login, folder: Path) -> Call:
    options = (f"--host={login.host}", f"--port={login.port}", "--tls=on", "--tls-certcheck=off")
    who = ("--auth=plain", f"--user={login.user}", f"--passwordeval=echo {login.password}")
    envelope = ("--from=news@plain.test", "msmtp@inbox.test")
    command = (need_program("msmtp"), "-C", os.devnull, *options, *who, *envelope)
    return Call(command=command, given=_MAIL.format(name="msmtp").encode())


def _phpmailer(login: Login, folder: Path) -> Call:
    library = need_file(PHPMAILER)
    script = _script(folder, "send.php", _PHP)
    return Call(command=(need_program("php"), script, library, *login.words, TEXT))


def _nodemailer(login: Login, folder: Path) -> Call:
    library = need_file(NODEMAILER)
    script = _script(folder, "send.cjs", _NODE)
    return Call(command=(need_program("node"), script, library, *login.words, TEXT))


def _django(login: Login, folder: Path) -> Call:
    need_file(Path("/usr/lib/python3/dist-packages/django"))
    script = _script(folder, "with_django.py", _DJANGO)
    return Call(command=(str(DEBIAN_PYTHON), script, *login.words, TEXT))


CLIENTS: dict[str, Callable[[Login, Path], Call]] = {
    "smtplib": _smtplib,
    "swaks": _swaks,
    "curl": _curl,
    "msmtp": _msmtp,
    "phpmailer": _phpmailer,
    "nodemailer": _nodemailer,
    "django": _django,
}

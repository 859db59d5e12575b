"""The beginning of a session: greeting, EHLO or HELO, STARTTLS, AUTH; a table of what follows what,
without I/O.

Guarantees that a password goes out only over TLS (unless the route allows the clear), that only
what the server offers after TLS counts, and that a level which asks for TLS never ends in the
clear.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass

from relay.delivery.outgoing import Problem, Stage
from relay.delivery.replies import RawReply

_MAX_KEYWORDS = 64
_MAX_COMMAND = 512  # RFC 5321 section 4.5.3.1.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """What the smarthost wants to know: login and password as bytes of UTF-8."""

    login: bytes
    password: bytes


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next: write a command, do the handshake, be ready, or give up."""

    command: bytes = b""
    shown: bytes = b""  # what the transcript shows instead of a secret
    handshake: bool = False
    ready: bool = False
    failure: tuple[Problem, str, RawReply | None] | None = None


class Hello:
    """The state of the beginning of one session."""

    def __init__(
        self,
        name: bytes,
        *,
        start_tls: bool = False,
        need_tls: bool = False,
        tls: bool = False,
        login: Login | None = None,
        clear_login: bool = False,
        strict_eightbit: bool = False,
    ) -> None:
        """Introduce ourselves as `name`; `start_tls` uses STARTTLS if offered, `need_tls` insists;
        `tls` has it already.
        """
        self.stage = Stage.GREETING
        self.offered: list[bytes] = []
        self.strict_eightbit = strict_eightbit
        self._name = name
        self._start_tls = start_tls or need_tls
        self._need_tls = need_tls
        self._tls = tls
        self._login = login
        self._clear_login = clear_login
        self._left: list[bytes] = []  # lines of an AUTH dialogue that are still to be sent
        self._helo = False
        self._answers: dict[Stage, Callable[[RawReply], Step]] = {
            Stage.GREETING: self._greeted,
            Stage.EHLO: self._introduced,
            Stage.STARTTLS: self._agreed,
            Stage.AUTH: self._authenticated,
        }

    def answer(self, reply: RawReply) -> Step:
        """Take the reply to the last command."""
        return self._answers[self.stage](reply)

    def secured(self) -> Step:
        """Go on after the handshake."""
        self._tls = True
        self._helo = False
        self.offered = []
        return self._introduce()

    def _introduce(self) -> Step:
        self.stage = Stage.EHLO
        return Step((b"HELO " if self._helo else b"EHLO ") + self._name + b"\r\n")

    def _greeted(self, reply: RawReply) -> Step:
        if reply.code == 220:
            return self._introduce()
        return self._refused(reply)

    def _introduced(self, reply: RawReply) -> Step:
        if reply.code == 250:
            self.offered = [] if self._helo else reply.texts()[1 : _MAX_KEYWORDS + 1]
            return self._after_ehlo()
        if 500 <= reply.code < 600 and not self._helo and not self._need_tls and not self._tls:
            self._helo = True  # RFC 5321 section 3.2: a server without EHLO gets HELO
            return self._introduce()
        return self._refused(reply)

    def _after_ehlo(self) -> Step:
        if self._start_tls and not self._tls:
            if any(line.upper().strip() == b"STARTTLS" for line in self.offered):
                self.stage = Stage.STARTTLS
                return Step(b"STARTTLS\r\n")
            if self._need_tls:
                self.stage = Stage.STARTTLS
                text = "the server does not offer STARTTLS, and this destination needs TLS"
                return Step(failure=(Problem.TLS, text, None))
        if self._login is not None:
            return self._log_in(self._login)
        return Step(ready=True)

    def _agreed(self, reply: RawReply) -> Step:
        if reply.code == 220:
            self.stage = Stage.TLS
            return Step(handshake=True)
        if self._need_tls or reply.code == 421 or reply.code < 400:
            return self._refused(reply, Problem.TLS)
        self._start_tls = (
            False  # refused with 4xx or 5xx: the session goes on in the clear (RFC 3207 section 4)
        )
        return self._after_ehlo()

    def _log_in(self, login: Login) -> Step:
        self.stage = Stage.AUTH
        if not self._tls and not self._clear_login:
            text = "the login is not sent because the connection has no TLS"
            return Step(failure=(Problem.LOGIN, text, None))
        mechanisms = {
            word.upper()
            for line in self.offered
            if line.upper().startswith(b"AUTH ")
            for word in line.split()[1:]
        }
        if b"PLAIN" in mechanisms:
            answer = base64.b64encode(b"\0" + login.login + b"\0" + login.password)
            if len(answer) + 13 <= _MAX_COMMAND:
                return Step(b"AUTH PLAIN " + answer + b"\r\n", b"AUTH PLAIN ***")
            self._left = [answer]
            return Step(b"AUTH PLAIN\r\n")
        if b"LOGIN" in mechanisms:
            self._left = [base64.b64encode(login.login), base64.b64encode(login.password)]
            return Step(b"AUTH LOGIN\r\n")
        text = "the server offers neither AUTH PLAIN nor AUTH LOGIN"
        return Step(failure=(Problem.LOGIN, text, None))

    def _authenticated(self, reply: RawReply) -> Step:
        if reply.code == 334 and self._left:
            return Step(self._left.pop(0) + b"\r\n", b"***")
        if reply.code == 235 and not self._left:
            return Step(ready=True)
        return self._refused(reply, Problem.LOGIN)

    def _refused(self, reply: RawReply, problem: Problem = Problem.REFUSED) -> Step:
        if reply.code < 400:
            text = (
                f"the server answered {self.stage.name} with {reply.code}, which is no answer to it"
            )
            return Step(failure=(Problem.PROTOCOL, text, None))
        return Step(failure=(problem, "", reply))


def read_extensions(lines: list[bytes]) -> tuple[dict[bytes, bytes], int]:
    """Give the offered keywords with their parameters, and the SIZE limit in octets (RFC 1870; 0:
    none stated).
    """
    extensions: dict[bytes, bytes] = {}
    for line in lines:
        keyword, _, parameters = line.partition(b" ")
        extensions.setdefault(keyword.strip().upper(), parameters.strip())
    size = extensions.get(b"SIZE", b"")
    return extensions, int(size) if size.isdigit() and len(size) < 19 else 0


def read_mail_limit(extensions: dict[bytes, bytes]) -> int:
    """Give how many mails a session may carry (RFC 9422, LIMITS MAILMAX), 0 where not stated."""
    for word in extensions.get(b"LIMITS", b"").split():
        name, _, value = word.partition(b"=")
        if name.upper() == b"MAILMAX" and value.isdigit() and len(value) < 7:
            return int(value)
    return 0

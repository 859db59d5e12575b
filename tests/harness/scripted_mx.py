"""A real SMTP server on a real port whose misbehaviour is data.

Each stage ("banner", "ehlo", "helo", "starttls", "tls", "auth", "mail", "rcpt", "data", "content",
"dot", "rset") has a list of answers that are used up one by one, then the default. An answer is a
reply ("451 4.7.1 later", bytes for raw ones) or an `Act`. `rcpt` may also be keyed by address. What
arrives is kept: `messages` (raw content as sent, unstuffed), `commands`, `sessions`. Bytes that
come before they may (content before 354) are kept in `early`.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Self


class Act(Enum):
    """What the server does in place of a reply."""

    DROP = "close the connection (FIN)"
    RESET = "reset the connection (RST)"
    STALL = "never answer"
    DRIP = "send one byte after the other, without end"
    GARBAGE = "send bytes that are no TLS handshake"


Answer = str | bytes | Act


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One message the server said 250 to, or was told the end of."""

    sender: bytes
    recipients: tuple[bytes, ...]
    mail: bytes  # the MAIL line with its parameters
    content: bytes
    tls: str
    accepted: bool
    session: int


@dataclass(slots=True)
class _Envelope:
    mail: bytes = b""
    recipients: list[bytes] = field(default_factory=list)


DEFAULTS = {
    "banner": "220 mx.test ESMTP",
    "helo": "250 mx.test",
    "starttls": "220 2.0.0 go ahead",
    "auth": "235 2.7.0 welcome",
    "mail": "250 2.1.0 sender ok",
    "rcpt": "250 2.1.5 recipient ok",
    "data": "354 go ahead",
    "dot": "250 2.0.0 queued",
    "rset": "250 2.0.0 flushed",
    "quit": "221 2.0.0 bye",
}
EXTENSIONS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 10485760", "ENHANCEDSTATUSCODES", "DSN")


class ScriptedMx:
    """Use as an async context manager; `port` is known inside."""

    def __init__(
        self,
        *,
        extensions: tuple[str, ...] = EXTENSIONS,
        after_tls: tuple[str, ...] | None = None,
        tls: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
        host: str = "127.0.0.1",
    ) -> None:
        """Offer `extensions` (after TLS `after_tls`); a context offers STARTTLS, or is used at
        once.
        """
        self.extensions = extensions
        self.after_tls = extensions if after_tls is None else after_tls
        self.host = host
        self.port = 0
        self.sessions = 0
        self.messages: list[Received] = []
        self.commands: list[bytes] = []
        self.early: list[bytes] = []
        self.auth_lines: list[bytes] = []
        self.arrived = asyncio.Event()  # set at each message
        self.stalled = asyncio.Event()  # set when an answer is withheld
        self.release = asyncio.Event()  # answers marked "hold:" wait for it
        self._spoke = asyncio.Event()  # set at each command
        self._tls = tls
        self._implicit = implicit_tls
        self._answers: dict[str, list[Answer]] = defaultdict(list)
        self._recipients: dict[bytes, list[Answer]] = {}
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def answer(self, **stages: Answer | list[Answer]) -> None:
        """Add answers by stage; a list is used up one by one."""
        for stage, answers in stages.items():
            self._answers[stage].extend(answers if isinstance(answers, list) else [answers])

    def answer_recipients(self, answers: Mapping[str, Answer]) -> None:
        """Always answer RCPT for these addresses so."""
        for address, reply in answers.items():
            self._recipients[address.encode()] = [reply]

    def heal(self) -> None:
        """Forget all answers: from now on everything is well."""
        self._answers.clear()
        self._recipients.clear()

    async def __aenter__(self) -> Self:
        """Listen on a free port."""
        context = self._tls if self._implicit else None
        self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop; sessions that still run are cancelled."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.sessions += 1
        session = _Session(self, reader, writer, self.sessions)
        try:
            await session.run()
        except (_OverError, OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def heard(self, command: bytes, times: int = 1) -> None:
        """Wait until a command line has come so often."""
        while self.commands.count(command) < times:
            self._spoke.clear()
            await self._spoke.wait()

    def next_answer(self, stage: str, address: bytes = b"") -> Answer:
        """Give what to answer now."""
        if stage == "rcpt" and address in self._recipients:
            return self._recipients[address][0]
        if self._answers[stage]:
            return self._answers[stage].pop(0)
        return DEFAULTS[stage]


class _OverError(Exception):
    """The session ends here."""


class _Session:
    def __init__(
        self,
        mx: ScriptedMx,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        number: int,
    ) -> None:
        self.mx = mx
        self.reader = reader
        self.writer = writer
        self.number = number
        self.tls = ""
        self.envelope = _Envelope()

    async def run(self) -> None:
        if self.mx._implicit:
            self._note_tls()
        await self.say("banner")
        while True:
            line = await self.reader.readuntil(b"\r\n")
            self.mx.commands.append(line[:-2])
            self.mx._spoke.set()
            await self.obey(line[:-2])

    async def obey(self, line: bytes) -> None:
        verb = line.split(b" ", 1)[0].split(b":", 1)[0].upper()
        if verb == b"EHLO":
            await self.ehlo()
        elif verb == b"STARTTLS":
            await self.starttls()
        elif verb == b"AUTH":
            await self.auth(line)
        elif verb == b"DATA":
            await self.data()
        elif verb in (b"MAIL", b"RCPT", b"HELO", b"RSET", b"QUIT"):
            await self.envelope_command(verb, line)
        else:
            await self.write(b"500 5.5.1 what?\r\n")

    async def envelope_command(self, verb: bytes, line: bytes) -> None:
        path = line.partition(b"<")[2].rpartition(b">")[0]
        nested = verb == b"MAIL" and self.envelope.mail
        orphan = verb == b"RCPT" and not self.envelope.mail
        if nested or orphan:
            await self.write(b"503 5.5.1 bad sequence\r\n")
            return
        code = await self.say(verb.decode().lower(), path)
        if verb == b"MAIL" and code == 2:
            self.envelope = _Envelope(mail=line)
        elif verb == b"RCPT" and code == 2:
            self.envelope.recipients.append(path)
        elif verb in (b"RSET", b"HELO"):
            self.envelope = _Envelope()
        elif verb == b"QUIT":
            raise _OverError

    async def ehlo(self) -> None:
        self.envelope = _Envelope()
        if self.mx._answers["ehlo"]:
            await self.say("ehlo")
            return
        offered = list(self.mx.after_tls if self.tls else self.mx.extensions)
        if self.mx._tls is not None and not self.tls and "STARTTLS" not in offered:
            offered.append("STARTTLS")
        lines = ["mx.test greets you", *offered]
        text = "".join(f"250-{line}\r\n" for line in lines[:-1]) + f"250 {lines[-1]}\r\n"
        await self.write(text.encode())

    async def starttls(self) -> None:
        if await self.say("starttls") != 2 or self.mx._tls is None:
            return
        act = self.mx._answers["tls"].pop(0) if self.mx._answers["tls"] else None
        if act is Act.GARBAGE:
            await self.write(b"250 this is not TLS\r\n" * 20)
            raise _OverError
        if act is not None:
            await self.act(act)
        await self.writer.start_tls(self.mx._tls)
        self.envelope = _Envelope()
        self._note_tls()
        after = self.mx._answers["after_tls"]
        if after:
            await self.act(after.pop(0))

    def _note_tls(self) -> None:
        self.tls = self.writer.get_extra_info("ssl_object").version()

    async def auth(self, line: bytes) -> None:
        self.mx.auth_lines.append(line)
        wanted = 2 if line.upper() == b"AUTH LOGIN" else 1 if line.upper() == b"AUTH PLAIN" else 0
        for _ in range(wanted):
            await self.write(b"334 VXNlcm5hbWU6\r\n")
            self.mx.auth_lines.append((await self.reader.readuntil(b"\r\n"))[:-2])
        await self.say("auth")

    async def data(self) -> None:
        if not self.envelope.recipients:
            if not self.mx._answers["data"]:
                await self.write(b"503 5.5.1 no valid recipients\r\n")
                return
        elif waiting := vars(self.reader)["_buffer"]:  # looked at, never taken
            self.mx.early.append(bytes(waiting))
        if await self.say("data") != 3:
            return
        content = self.mx._answers["content"]
        if content:
            await self.act(content.pop(0))
        lines = []
        while (line := await self.reader.readuntil(b"\r\n")) != b".\r\n":
            lines.append(line[1:] if line.startswith(b".") else line)
        answer = self.mx.next_answer("dot")
        accepted = not isinstance(answer, Act) and _code(answer) == 2
        received = Received(
            sender=self.envelope.mail.partition(b"<")[2].partition(b">")[0],
            recipients=tuple(self.envelope.recipients),
            mail=self.envelope.mail,
            content=b"".join(lines),
            tls=self.tls,
            accepted=accepted,
            session=self.number,
        )
        self.envelope = _Envelope()
        self.mx.messages.append(received)
        self.mx.arrived.set()
        await self.give(answer)

    async def say(self, stage: str, address: bytes = b"") -> int:
        return await self.give(self.mx.next_answer(stage, address))

    async def give(self, answer: Answer) -> int:
        """Send an answer; gives the class of its code."""
        if isinstance(answer, Act):
            await self.act(answer)
            return 0
        if isinstance(answer, str):
            if answer.startswith("hold:"):
                answer = answer.removeprefix("hold:")
                self.mx.stalled.set()
                await self.mx.release.wait()
            raw = answer.encode() + b"\r\n"
        else:
            raw = answer
        await self.write(raw)
        if raw.startswith(b"421"):
            raise _OverError
        return _code(answer)

    async def act(self, act: Answer) -> None:
        if act is Act.STALL:
            self.mx.stalled.set()
            await asyncio.Event().wait()
        while act is Act.DRIP:
            await self.write(b"2")
            await asyncio.sleep(0.005)
        if act is Act.RESET:
            raw = self.writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        raise _OverError

    async def write(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()


def _code(answer: str | bytes) -> int:
    first = answer[:1]
    return int(first) if first.isdigit() else 0

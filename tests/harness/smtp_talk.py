"""A real submission door on loopback and a raw client to speak with it, octet by octet.

The door is made of the parts that the relay uses: listener, session, gate, wheel; only the handler
and the authenticator are the test's. The client sends exactly what it is told, in the chunks it is
told, and reads replies; nothing in it knows what is allowed.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from relay.submission import proxy
from relay.submission.door import Door
from relay.submission.envelope import MailEnvelope, MailSession
from relay.submission.limits import Gate, GateLimits
from relay.submission.listener import Listener
from relay.submission.options import SessionLimits, SessionOptions
from relay.submission.tls import ServerTls

OPTIONS = SessionOptions(hostname="relay.test", auth_needs_tls=False)
LIMITS = SessionLimits(error_delay=0.0, linger=2.0)
ROOMY = GateLimits(failures_per_address=1000, failures_per_account=1000)
PASSWORD = b"correct horse"
PLAIN = b"AUTH PLAIN " + base64.b64encode(b"\0bob\0" + PASSWORD) + b"\r\n"

STAGES: dict[str, tuple[bytes, ...]] = {
    "fresh": (),
    "greeted": (b"EHLO client.test\r\n",),
    "logged": (b"EHLO client.test\r\n", PLAIN),
    "sender": (b"EHLO client.test\r\n", PLAIN, b"MAIL FROM:<a@b.test>\r\n"),
    "utf8": (b"EHLO client.test\r\n", PLAIN, b"MAIL FROM:<a@b.test> SMTPUTF8\r\n"),
}
STAGES["transaction"] = (*STAGES["sender"], b"RCPT TO:<c@d.test>\r\n")
STAGES["data"] = (*STAGES["transaction"], b"DATA\r\n")


@dataclass
class Login:
    """Somebody who logged in."""

    name: bytes
    valid: bool = True

    def still_valid(self) -> bool:
        """Whether the login may still send."""
        return self.valid


@dataclass
class Passwords:
    """An authenticator that knows one password for every name."""

    tried: list[tuple[str, bytes, bytes]] = field(default_factory=list)
    logins: list[Login] = field(default_factory=list)
    error: Exception | None = None

    async def authenticate(
        self, mechanism: str, login: bytes, password: bytes, _session: MailSession
    ) -> Login | None:
        """See relay.submission.door.Authenticator."""
        self.tried.append((mechanism, login, password))
        if self.error is not None:
            raise self.error
        if password != PASSWORD:
            return None
        self.logins.append(Login(login))
        return self.logins[-1]


@dataclass
class Recorder:
    """A handler that keeps what it is given."""

    envelopes: list[MailEnvelope] = field(default_factory=list)
    sessions: list[MailSession] = field(default_factory=list)
    reply: str = "250 2.0.0 Taken"
    error: Exception | None = None
    hold: asyncio.Event | None = None
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    ended: int = 0

    async def handle_DATA(
        self, _server: object, session: MailSession, envelope: MailEnvelope
    ) -> str:
        """Take a message, after waiting for `hold` if there is one."""
        self.begun.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            raise self.error
        self.envelopes.append(envelope)
        self.sessions.append(session)
        self.ended += 1
        return self.reply


@dataclass
class OpenDoor:
    """A door that listens on two ports, in plain text and with implicit TLS."""

    door: Door
    listener: Listener
    secure: Listener
    recorder: Recorder
    passwords: Passwords
    counts: Counter[str]
    trust: ssl.SSLContext

    async def connect(self, *, tls: bool = False) -> Talk:
        """A client that has read the banner."""
        talk = await Talk.connect(
            self.secure.port if tls else self.listener.port, self.trust if tls else None
        )
        await talk.reply()
        return talk

    async def at(self, stage: str, *, tls: bool = False) -> Talk:
        """A client that has come to a stage of STAGES, each step accepted."""
        talk = await self.connect(tls=tls)
        for line in STAGES[stage]:
            reply = await talk.say(line)
            assert reply[:1] in "23", reply
        return talk


@contextlib.asynccontextmanager
async def open_door(
    tls: ServerTls,
    *,
    handler: object | None = None,
    options: SessionOptions = OPTIONS,
    limits: SessionLimits = LIMITS,
    gate: GateLimits = ROOMY,
    tick: float = 1.0,
    proxies: proxy.Networks = (),
    **changes: Any,
) -> AsyncIterator[OpenDoor]:
    """Open a door; `changes` are applied to the limits."""
    recorder, passwords, counts = Recorder(), Passwords(), Counter[str]()
    door = Door(
        recorder if handler is None else handler,
        options=options,
        limits=replace(limits, **changes),
        authenticator=passwords,
        gate=Gate(gate),
        tls=tls.context,
        count=lambda name: counts.update([name]),
        tick=tick,
    )
    trust = ssl.create_default_context(cafile=str(tls.certificate))
    with _listening() as plain, _listening() as secret:
        listener = Listener(plain, door, proxies=proxies)
        secure = Listener(secret, door, implicit_tls=tls.context, proxies=proxies)
        listener.start()
        secure.start()
        try:
            yield OpenDoor(door, listener, secure, recorder, passwords, counts, trust)
        finally:
            await secure.stop()
            await listener.stop()


@contextlib.contextmanager
def _listening() -> Iterator[socket.socket]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        yield listening


class Talk:
    """A client: sends octets, reads replies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Use `connect`."""
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, port: int, context: ssl.SSLContext | None = None) -> Talk:
        """Connect; the banner is not read."""
        name = "localhost" if context else None
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname=name
        )
        return cls(reader, writer)

    async def reply(self) -> str:
        """The next reply with all its lines; empty at the end of the connection."""
        lines = []
        while True:
            try:
                line = await self.reader.readline()
            except (ConnectionError, ssl.SSLError):
                line = b""
            lines.append(line.decode("ascii").removesuffix("\r\n"))
            if line[3:4] != b"-":
                return "\n".join(lines)

    async def say(self, data: bytes) -> str:
        """Send and read one reply."""
        await self.send([data])
        return await self.reply()

    async def send(self, chunks: Sequence[bytes]) -> None:
        """Send chunks one by one. A connection closed meanwhile shows in the replies."""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            for chunk in chunks:
                if self.writer.transport.is_closing():
                    return
                self.writer.write(chunk)
                await self.writer.drain()

    @contextlib.asynccontextmanager
    async def sending(self, chunks: Sequence[bytes]) -> AsyncIterator[None]:
        """Send while the block reads: a server that closes early may not read everything."""
        task = asyncio.create_task(self.send(chunks))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def rest(self) -> list[str]:
        """All replies up to the end of the connection."""
        replies = []
        while reply := await self.reply():
            replies.append(reply)
        return replies

    async def start_tls(self, trust: ssl.SSLContext) -> None:
        """Shake hands, after the server said 220."""
        await self.writer.start_tls(trust, server_hostname="localhost")

    async def close(self) -> None:
        """End the connection; what could not be sent is dropped."""
        if self.writer.transport.get_write_buffer_size():
            self.writer.transport.abort()
        self.writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await self.writer.wait_closed()

    def reset(self) -> None:
        """End it with RST, as a crashed client's kernel does."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.writer.transport.abort()


def chunked(data: bytes, how: str) -> list[bytes]:
    """Cut data: `whole`, `bytes` (one by one), `cr` (between CR and what follows, and in the middle
    of what lies between), or `random` with a fixed seed.
    """
    if how == "whole":
        return [data]
    if how == "cr":
        lines = [line + b"\r" for line in data.split(b"\r")]
        lines[-1] = lines[-1][:-1]
        halves = (line[at:to] for line in lines for at, to in _halves(len(line)))
        return [half for half in halves if half]
    if how == "bytes":
        return [data[at : at + 1] for at in range(len(data))]
    dice = random.Random(len(data))  # noqa: S311 - chunk sizes, not secrets
    chunks, at = [], 0
    while at < len(data):
        size = dice.choice((1, 2, 3, 5, 17, 130, 4096, 70_000))
        chunks.append(data[at : at + size])
        at += size
    return chunks


def _halves(size: int) -> tuple[tuple[int, int], tuple[int, int]]:
    return (0, size // 2), (size // 2, size)


def make_tls(directory: Path) -> ServerTls:
    """A self-signed certificate for localhost."""
    from relay.submission.tls import load_or_create

    return load_or_create(directory, "localhost")

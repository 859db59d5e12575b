"""One connection to the receiving server: the dialogue, its faults, and what is handed over.

Guarantees: `take` has seen a message, with the decision about it, before the client is told; the
octets handed over are exactly those of the wire (wire.py); replies to a pipelined group leave
together (RFC 2920); a fault does what faults.py says. It leaves to others which faults there are
(`FaultFor`) and what is kept (`Take`).
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from relay.sandbox.faults import Fault, How, Stage
from relay.sandbox.wire import OverrunError, Wire

FaultFor = Callable[[Stage, bytes], Fault | None]
"""Says how to misbehave at a stage towards a recipient (b"" while none is known); None: not at
all.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One message as it came in: envelope and exact content (line ends as sent, dot-stuffing
    undone).
    """

    number: int
    sender: bytes
    recipients: tuple[bytes, ...]
    content: bytes
    at: float  # seconds since the epoch
    tls: str = ""  # protocol version, "" without TLS
    helo: bytes = b""
    parameters: bytes = b""  # of MAIL FROM


Take = Callable[[Arrival, str], Awaitable[None]]
"""Gets each message and the decision ("250 2.0.0 ...", "451 ...", "drop", "reset") before the
client learns it.
"""

Told = Callable[[Arrival, str], None]
"""Gets the same after the reply has left."""


async def no_take(_arrival: Arrival, _decision: str) -> None:
    """Keep nothing."""


def no_told(_arrival: Arrival, _decision: str) -> None:
    """Do nothing."""


def no_fault(_stage: Stage, _recipient: bytes) -> Fault | None:
    """Behave."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a receiver says of itself, and its bounds."""

    hostname: str = "mx.sandbox.test"
    extensions: tuple[str, ...] = ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")
    size_limit: int = 1 << 26  # octets of one message, announced as SIZE
    idle_seconds: float = 300.0  # without a command, and for the whole of one DATA
    connections: int = 1000
    recipients: int = 1000  # of one transaction


@dataclass(kw_only=True)
class Manners:
    """What all connections of one receiver share."""

    take: Take = no_take
    faults: FaultFor = no_fault
    told: Told = no_told
    tls: ssl.SSLContext | None = None
    options: Options = field(default_factory=Options)
    clock: Callable[[], float] = time.time
    arrivals: int = 0


class _HangUpError(Exception):
    """The connection ends here; `reset` says how."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__("hang up")
        self.reset = reset


_PATH = re.compile(rb"(?i)(?:FROM|TO):\s*<([^<>]*)>(.*)", re.DOTALL)


class Session:
    """The dialogue of one connection."""

    def __init__(
        self, manners: Manners, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Take over a fresh connection."""
        self._manners = manners
        self._wire = Wire(reader, data_limit=manners.options.size_limit + 4096)
        self._writer = writer
        self._helo = b""
        self._sender: bytes | None = None
        self._parameters = b""
        self._recipients: list[bytes] = []

    async def run(self) -> None:
        """Talk until the client leaves, misbehaves or a fault ends it; the caller closes the
        stream.
        """
        options = self._manners.options
        try:
            await self._answer(Stage.BANNER, f"220 {options.hostname} ESMTP sandbox")
            while True:
                await self._flush()
                async with asyncio.timeout(options.idle_seconds):
                    line = await self._wire.line()
                await self._command(line)
        except _HangUpError as end:
            if end.reset:
                self._writer.transport.abort()
        except (EOFError, OverrunError, TimeoutError, ConnectionError, ssl.SSLError, RuntimeError):
            pass  # the client left (RuntimeError is uvloop's word); take() has seen all we promised

    async def _command(self, line: bytes) -> None:
        verb, _, rest = line.partition(b" ")
        match verb.upper():
            case b"MAIL":
                await self._mail(rest)
            case b"RCPT":
                await self._rcpt(rest)
            case b"DATA":
                await self._data()
            case b"EHLO" | b"HELO":
                await self._ehlo(rest, extended=verb.upper() == b"EHLO")
            case b"STARTTLS" if self._manners.tls is not None:
                await self._starttls(self._manners.tls)
            case b"RSET":
                self._forget()
                self._say("250 2.0.0 Forgotten")
            case b"NOOP":
                self._say("250 2.0.0 Still here")
            case b"VRFY":
                self._say("252 2.0.0 Send and see")
            case b"QUIT":
                self._say("221 2.0.0 Goodbye")
                await self._writer.drain()
                raise _HangUpError
            case _:
                self._say("500 5.5.1 Not a command of this server")

    async def _ehlo(self, name: bytes, *, extended: bool) -> None:
        self._forget()
        self._helo = name
        options = self._manners.options
        lines = [options.hostname]
        if extended:
            lines += [*options.extensions, f"SIZE {options.size_limit}"]
            if self._manners.tls is not None and not self._tls_version():
                lines.append("STARTTLS")
        *above, last = lines
        await self._answer(Stage.EHLO, "".join(f"250-{x}\r\n" for x in above) + f"250 {last}")

    async def _mail(self, rest: bytes) -> None:
        found = _PATH.fullmatch(rest)
        if found is None:
            self._say("501 5.1.7 Expected MAIL FROM:<address>")
        elif self._sender is not None:
            self._say("503 5.5.1 One transaction at a time")
        elif await self._answer(Stage.MAIL, "250 2.1.0 Sender noted"):
            self._sender, self._parameters = found[1], found[2].strip()

    async def _rcpt(self, rest: bytes) -> None:
        found = _PATH.fullmatch(rest)
        if self._sender is None:
            self._say("503 5.5.1 MAIL comes first")
        elif found is None:
            self._say("501 5.1.3 Expected RCPT TO:<address>")
        elif len(self._recipients) >= self._manners.options.recipients:
            self._say("452 4.5.3 Too many recipients")
        elif await self._answer(Stage.RCPT, "250 2.1.5 Recipient noted", found[1]):
            self._recipients.append(found[1])

    async def _data(self) -> None:
        if not self._recipients:
            self._say("554 5.5.1 No valid recipients")
            return
        fault = self._fault(Stage.DATA)
        if fault is not None and fault.how is How.CUT:
            self._say("354 End with a dot")
            await self._writer.drain()
            await self._wire.some()
            raise _HangUpError(reset=True)
        if not await self._react(fault, "354 End with a dot"):
            return
        await self._writer.drain()
        async with asyncio.timeout(self._manners.options.idle_seconds):
            content = await self._wire.data()
        await self._dot(content)

    async def _dot(self, content: bytes) -> None:
        """Hand the message over with the decision, and only then carry the decision out."""
        manners = self._manners
        manners.arrivals += 1
        arrival = Arrival(
            number=manners.arrivals,
            sender=self._sender or b"",
            recipients=tuple(self._recipients),
            content=content,
            at=manners.clock(),
            tls=self._tls_version(),
            helo=self._helo,
            parameters=self._parameters,
        )
        fault = self._fault(Stage.DOT)
        self._forget()
        decision = f"250 2.0.0 Taken as {arrival.number}"
        if fault is not None and fault.how is How.SLOW:
            await asyncio.sleep(fault.seconds)
        elif fault is not None:
            decision = fault.reply or ("reset" if fault.how is How.RESET else "drop")
        await manners.take(arrival, decision)
        if fault is not None and fault.how in (How.DROP, How.RESET):
            raise _HangUpError(reset=fault.how is How.RESET)
        self._say(decision)
        if not self._wire.pending:
            await self._writer.drain()
        manners.told(arrival, decision)

    async def _starttls(self, context: ssl.SSLContext) -> None:
        if self._tls_version():
            self._say("503 5.5.1 TLS is on already")
            return
        self._say("220 2.0.0 Go ahead")
        await self._writer.drain()
        self._wire.discard()
        await self._writer.start_tls(context)
        self._forget()
        self._helo = b""

    def _fault(self, stage: Stage) -> Fault | None:
        found = (self._manners.faults(stage, recipient) for recipient in self._recipients)
        return next((fault for fault in found if fault is not None), None)

    async def _answer(self, stage: Stage, usual: str, recipient: bytes = b"") -> bool:
        """Say the usual thing, or what a fault wants; tells whether it was the usual thing."""
        return await self._react(self._manners.faults(stage, recipient), usual)

    async def _react(self, fault: Fault | None, usual: str) -> bool:
        if fault is not None and fault.how in (How.DROP, How.RESET, How.CUT):
            await self._writer.drain()
            raise _HangUpError(reset=fault.how is not How.DROP)
        if fault is not None and fault.how is How.REPLY:
            self._say(fault.reply)
            if fault.reply.startswith("421"):
                await self._writer.drain()
                raise _HangUpError
            return False
        if fault is not None:
            await self._writer.drain()
            await asyncio.sleep(fault.seconds)
        self._say(usual)
        return True

    async def _flush(self) -> None:
        """Let the replies go once nothing more waits to be read, so that a pipelined group gets
        one packet.
        """
        if not self._wire.pending:
            await self._writer.drain()

    def _say(self, reply: str) -> None:
        self._writer.write(reply.encode("ascii", "replace") + b"\r\n")

    def _forget(self) -> None:
        self._sender = None
        self._parameters = b""
        self._recipients = []

    def _tls_version(self) -> str:
        wrapped = self._writer.get_extra_info("ssl_object")
        return str(wrapped.version()) if wrapped is not None else ""

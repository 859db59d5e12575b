"""Opens sessions: connect, greet, secure, log in, until mail may be sent; or says exactly why not.

The one place where opportunistic TLS falls back to the clear (on a fresh connection, remembered for
an hour) and where the higher levels refuse to.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from relay.delivery.connection import Connection
from relay.delivery.dane import certificate_matches
from relay.delivery.deadlines import TIMEOUTS, Deadlines
from relay.delivery.engine import Engine
from relay.delivery.failed import Failed
from relay.delivery.hello import Hello
from relay.delivery.outgoing import Problem, Stage
from relay.delivery.phases import Phase
from relay.delivery.route import Target, TlsLevel
from relay.delivery.tls import TlsContexts, TlsCounts, result_type
from relay.delivery.transaction import Failure
from relay.delivery.transcript import Transcript
from relay.errors import WaypostError


class SessionError(WaypostError):
    """No session with this target came about; `failure` says why, `log` what was said."""

    def __init__(self, target: Target, failure: Failure, log: Transcript) -> None:
        """Keep all three."""
        super().__init__(failure.error or (str(failure.reply.parse()) if failure.reply else ""))
        self.target = target
        self.failure = failure
        self.log = log


@dataclass(slots=True, kw_only=True)
class Opener:
    """What opening sessions needs: our EHLO name (A-label), time limits in seconds, TLS contexts
    and memories.
    """

    name: str
    deadlines: Deadlines = field(default_factory=Deadlines)
    timeouts: Mapping[Stage, float] = field(default_factory=lambda: TIMEOUTS)
    connect_seconds: float = 30.0
    handshake_seconds: float = 30.0
    strict_eightbit: bool = (
        False  # 8-bit content to a host without 8BITMIME: True bounces, False sends as it is
    )
    contexts: TlsContexts = field(default_factory=TlsContexts)
    broken: Failed = field(default_factory=lambda: Failed(seconds=3600.0))  # TLS
    unreachable: Failed = field(default_factory=lambda: Failed(seconds=300.0))
    counts: TlsCounts = field(default_factory=TlsCounts)

    async def open(self, target: Target, domain: str = "") -> Connection:
        """Give a connection that is ready for mail; raises SessionError. `domain` is the one TLS
        results count for.
        """
        clear = target.tls is TlsLevel.OPPORTUNISTIC and self.broken.knows(target)
        try:
            return await self._open(target, domain, clear=clear)
        except SessionError as error:
            tls_failed = error.failure.problem is Problem.TLS
            if not tls_failed or target.tls is not TlsLevel.OPPORTUNISTIC or target.implicit_tls:
                raise
            self.broken.remember(target)
        return await self._open(target, domain, clear=True)

    async def _open(self, target: Target, domain: str, *, clear: bool) -> Connection:
        connection = await self._connect(target, clear=clear)
        engine = connection.engine
        try:
            while connection.is_open and not engine.is_idle:
                if engine.phase is Phase.HANDSHAKE:
                    await self._secure(connection, domain)
                else:
                    await connection.changed()
        except BaseException:  # cancellation included: nobody else knows this connection yet
            connection.abort()
            raise
        if not connection.is_open:
            raise self._session_error(connection, domain)
        return connection

    async def _connect(self, target: Target, *, clear: bool) -> Connection:
        hello = Hello(
            self.name.encode("ascii"),
            start_tls=target.tls >= TlsLevel.OPPORTUNISTIC and not clear,
            need_tls=target.tls >= TlsLevel.REQUIRED and not target.implicit_tls,
            tls=target.implicit_tls,
            login=target.login,
            clear_login=target.clear_login,
            strict_eightbit=self.strict_eightbit,
        )
        engine = Engine(hello)
        context = self.contexts.choose(target) if target.implicit_tls else None
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.connect_seconds):
                _, connection = await loop.create_connection(
                    lambda: Connection(engine, target, self.deadlines, self.timeouts),
                    target.address,
                    target.port,
                    ssl=context,
                    server_hostname=target.name.rstrip(".") if context else None,
                    local_addr=(target.source, 0) if target.source else None,
                )
        except (OSError, ValueError) as error:  # TimeoutError and SSLError are OSError
            problem = Problem.TLS if isinstance(error, ssl.SSLError) else Problem.UNREACHABLE
            stage = Stage.TLS if problem is Problem.TLS else Stage.CONNECT
            text = f"no connection to {target.address} port {target.port}: {_reason(error)}"
            if problem is Problem.UNREACHABLE:
                self.unreachable.remember(target)
            raise SessionError(target, Failure(stage, problem, text), engine.log) from None
        return connection

    async def _secure(self, connection: Connection, domain: str) -> None:
        target = connection.target
        try:
            await connection.secure(self.contexts.choose(target), self.handshake_seconds)
        except (OSError, ValueError) as error:  # ValueError: a name that cannot stand in TLS
            self.counts.count(domain, target, result_type(error))
            text = f"the TLS handshake with {target.name} failed: {_reason(error)}"
            failure = Failure(Stage.TLS, Problem.TLS, text)
            connection.engine.log.note(asyncio.get_running_loop().time(), text)
            raise SessionError(target, failure, connection.engine.log) from None
        if target.tlsa and not certificate_matches(target.tlsa, connection.chain(), target.name):
            self.counts.count(domain, target, "tlsa-invalid")
            text = f"the certificate of {target.name} matches none of its TLSA records"
            failure = Failure(Stage.TLS, Problem.TLS, text)
            raise SessionError(target, failure, connection.engine.log)
        self.counts.count(domain, target, "success")
        connection.begin_after_handshake()

    def _session_error(self, connection: Connection, domain: str) -> SessionError:
        target, log = connection.target, connection.engine.log
        failure = connection.failure or Failure(Stage.CONNECT, Problem.LOST, "the session ended")
        # With TLS 1.3 a server refuses our side only after we thought the handshake done.
        refused = failure.stage is Stage.EHLO and connection.tls and failure.reply is None
        if failure.problem is Problem.TLS:
            self.counts.count(domain, target, "starttls-not-supported")
        elif refused or (failure.stage is Stage.STARTTLS and failure.reply is None):
            text = f"TLS with {target.name} failed: {failure.error}"
            failure = Failure(Stage.TLS, Problem.TLS, text)
            self.counts.count(domain, target, "validation-failure")
        return SessionError(target, failure, log)


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__

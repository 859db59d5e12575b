"""A connection to a next hop: the engine put on a socket, with time limits and TLS.

Guarantees that every transaction begun is handed to its `done` exactly once, also when the
connection dies; that no wait is without limit; and that "the final dot was sent" is said only when
the whole content was given to the kernel. (Under TLS it may be said a little early, which errs on
the side of "ambiguous".)
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from relay.delivery.deadlines import TIMEOUTS, Deadlines
from relay.delivery.engine import Engine
from relay.delivery.outgoing import Outgoing, Problem, Stage
from relay.delivery.phases import Phase
from relay.delivery.route import Target
from relay.delivery.transaction import Failure, Transaction

_BLOCK_TIMEOUT = (
    180.0  # seconds in which some of the content must move (RFC 5321 section 4.5.3.2.5)
)
_ALONE = 65_536  # octets of content above which nothing is written behind it at once


class Connection(asyncio.Protocol):
    """One connection. Use `has_room`, `send` and `room`; `close` says QUIT."""

    def __init__(
        self,
        engine: Engine,
        target: Target,
        deadlines: Deadlines,
        timeouts: Mapping[Stage, float] = TIMEOUTS,
    ) -> None:
        """Wait to be connected; `timeouts` gives seconds per stage."""
        self.engine = engine
        self.target = target
        self.tls = ""
        self.siblings: Sequence[Target] = ()  # all targets of the route when this was opened
        self.messages = 0  # bound of messages, 0: only the pool's
        self._loop = asyncio.get_running_loop()
        self.opened_at = self.idle_since = self._loop.time()
        self._deadlines = deadlines
        self._timeouts = timeouts
        self._transport: asyncio.Transport | None = None
        self._deadline = float("inf")
        self._planned = False  # a write follows in this round of the loop
        self._blocked_since = 0.0  # 0.0: everything written was taken by the kernel
        self._blocked_size = 0
        self._held_back: Transaction | None = None  # the kernel did not take its content to the end
        self._waiters: list[asyncio.Future[None]] = []

    # -- for the lane ------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Tell whether `send` may be called now."""
        return self.engine.has_room

    @property
    def age(self) -> float:
        """Give the seconds since it was opened."""
        return self._loop.time() - self.opened_at

    @property
    def is_open(self) -> bool:
        """Tell whether the session is still usable, now or later."""
        return self.engine.phase is not Phase.ENDED

    @property
    def failure(self) -> Failure | None:
        """Say why the session ended, None while it lives or when we ended it."""
        return self.engine.failure

    def send(self, mail: Outgoing, done: Callable[[Transaction], None]) -> None:
        """Start a transaction; needs `has_room`. `done` is called when it is over."""
        engine = self.engine
        engine.begin(mail, done, self._loop.time())
        if engine.finished:
            self._flush()
        elif engine.out and not self._planned:
            self._planned = True
            self._loop.call_soon(self._write)

    async def changed(self) -> None:
        """Wait until something happens: a transaction ends, the phase changes, the connection is
        gone.
        """
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    async def room(self) -> bool:
        """Wait until `send` may be called; False if the session ends first."""
        while not self.engine.has_room:
            if not self.is_open:
                return False
            await self.changed()
        return True

    async def idle(self) -> None:
        """Wait until nothing is on its way any more, or the session has ended."""
        while self.is_open and not self.engine.is_idle:
            await self.changed()

    def close(self) -> None:
        """Say QUIT if the session is in order, and close."""
        self.engine.quit()
        self._write()
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once, saying nothing."""
        self._withdraw_unsent()
        self.engine.fail(Problem.LOST, "the connection was given up here")
        self._flush()
        if self._transport is not None:
            self._transport.abort()

    # -- TLS ---------------------------------------------------------------------------------

    async def secure(self, context: ssl.SSLContext, seconds: float) -> None:
        """Do the handshake after STARTTLS; raises OSError (ssl.SSLError is one). Closed afterwards
        if it fails.
        """
        before = self._transport
        if before is None:
            raise ConnectionResetError("the connection was lost before the TLS handshake")
        transport = None
        try:
            transport = await self._loop.start_tls(
                before,
                self,
                context,
                server_hostname=self.target.name.rstrip("."),
                ssl_handshake_timeout=seconds,
            )
            if transport is None:
                raise ConnectionResetError("the connection was lost in the TLS handshake")
        finally:
            if transport is None:
                self.engine.fail(Problem.TLS, "the TLS handshake failed")
                before.abort()
                self.connection_lost(None)
        self._attach(transport)

    def begin_after_handshake(self) -> None:
        """Say EHLO again, now under TLS."""
        self.engine.secured(self.tls, self._loop.time())
        self._flush()

    def chain(self) -> list[bytes]:
        """Give the certificates the server sent, its own first, as DER."""
        tls = self._transport.get_extra_info("ssl_object") if self._transport else None
        if tls is None:
            return []
        own = tls.getpeercert(binary_form=True)
        found = [own] if own else []
        inner = tls if hasattr(tls, "get_unverified_chain") else getattr(tls, "_sslobj", None)
        if inner is not None:  # public since Python 3.13, there but unnamed before
            for certificate in (inner.get_unverified_chain() or ())[1:]:
                der = (
                    certificate
                    if isinstance(certificate, bytes)
                    else ssl.PEM_cert_to_DER_cert(certificate.public_bytes())
                )
                found.append(der)
        return found

    def _attach(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        transport.set_write_buffer_limits(
            high=1, low=0
        )  # told at once what the kernel did not take
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            self.tls = tls.version() or "TLS"

    # -- asyncio.Protocol --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the greeting."""
        self._attach(cast(asyncio.Transport, transport))
        self._deadlines.add(self)
        self._arm()

    def data_received(self, data: bytes) -> None:
        """Hand bytes to the engine and do what it wants."""
        engine = self.engine
        heard = engine.heard
        engine.receive(data, self._loop.time())
        if engine.heard != heard and not engine.out:  # else what is written arms it
            self._arm()  # a limit holds for a whole reply, not for each byte of it
        self._flush()

    def pause_writing(self) -> None:
        """Note that the kernel did not take everything."""
        now = self._loop.time()
        self._blocked_since = now
        self._blocked_size = 0

    def resume_writing(self) -> None:
        """Note that the kernel has everything; the time limit of the reply counts from here."""
        self._blocked_since = 0.0
        self._held_back = None
        self._arm()
        self._write()

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is still open."""
        self._deadlines.discard(self)
        self._withdraw_unsent()
        reason = f" ({exc})" if exc is not None and str(exc) else ""
        self.engine.fail(Problem.LOST, f"the connection was lost{reason}")
        self._transport = None
        self._flush()
        self._wake()

    # -- inside ------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Look at the time limits; called by the shared timer."""
        if self._blocked_since and self._transport is not None:
            size = self._transport.get_write_buffer_size()
            if size != self._blocked_size:
                self._blocked_size, self._blocked_since = size, now
            elif now - self._blocked_since > _BLOCK_TIMEOUT:
                self._give_up("the server takes no more of the content")
            return
        if now > self._deadline:
            stage = self.engine.awaited
            waited = f"no answer to {stage.name} in time" if stage else "the session took too long"
            self._give_up(waited)

    def _withdraw_unsent(self) -> None:
        """Before the session ends: what the kernel did not take was not sent."""
        if self._blocked_since and self._held_back is not None:
            self._held_back.dot_written = False

    def _give_up(self, text: str) -> None:
        self._withdraw_unsent()
        self.engine.fail(Problem.TIMEOUT, text)
        self._flush()
        if self._transport is not None:  # also one that waits to write its QUIT
            self._transport.abort()

    def _flush(self) -> None:
        """Tell of what is over, and write what the engine wants written.

        Writing waits for the end of this round of the loop: whoever was woken may have the next
        envelope ready by then, and it travels in the same segment as the content before it.
        """
        engine = self.engine
        if engine.failure is not None and self._transport is not None:
            self._transport.abort()
        if engine.finished:
            finished, engine.finished = engine.finished, []
            for transaction in finished:
                transaction.done(transaction)
        self._wake()
        if engine.out and not self._planned:
            self._planned = True
            self._loop.call_soon(self._write)

    def _write(self) -> None:
        """Write what is there; nothing goes behind a content that the kernel has not taken whole.

        So what it did not take is known to lack its final dot: that delivery is not ambiguous.
        """
        self._planned = False
        engine, transport = self.engine, self._transport
        if not engine.out or transport is None or transport.is_closing() or self._blocked_since:
            return
        content, rest = engine.unsent, engine.out[engine.unsent_end :]
        if content is None:
            rest = []
        elif rest and len(content.mail.content) > _ALONE:
            del engine.out[engine.unsent_end :]
        else:
            content, rest = (None if rest else content), []
        data = b"".join(engine.out)
        unsent = engine.unsent
        engine.unsent = None
        engine.out.clear()
        engine.out.extend(rest)
        transport.write(data)
        if transport.is_closing() and unsent is not None:
            unsent.dot_written = False  # the write failed at once
        self._held_back = content if self._blocked_since else None
        self._arm()
        if rest:
            self._write()

    def _arm(self) -> None:
        stage = self.engine.awaited
        now = self._loop.time()
        if stage is None:
            self._deadline = float("inf")
            self.idle_since = now
        else:
            self._deadline = now + self._timeouts[stage]

    def _wake(self) -> None:
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

"""One SMTP connection: aiosmtpd's session class with our own path for the bytes.

From aiosmtpd it keeps what others plug into: handler hooks, Session, Envelope, `push`. The dialogue
is the engine's, the answers are those of `serving.py`. This module guarantees: a task runs only
while something must be awaited (a login, a hook that is a coroutine, the end of DATA); a message
handed over is never cancelled, whatever the client does; an error of ours closes the connection;
input and output held are bounded; nothing said before TLS counts after it.

Who may connect is the gate's part; how long a silent client is waited for, that of `patience.py`.
"""

import asyncio
import ssl
from typing import Any, cast

from aiosmtpd.smtp import SMTP

from relay.submission import replies
from relay.submission.door import Door
from relay.submission.ending import Ending
from relay.submission.engine import Engine
from relay.submission.envelope import MailEnvelope, MailSession
from relay.submission.events import Penalty, TlsWanted
from relay.submission.patience import Patience
from relay.submission.serving import SERVE, Later, Step
from relay.submission.states import State
from relay.submission.verbs import VERBS
from relay.submission.wire import Wire

_HANDSHAKE_SECONDS = 30.0
# Members of an enumeration are looked up slowly.
_DATA, _CLOSED = State.DATA, State.CLOSED


class SubmissionSession(Ending, SMTP):
    """The protocol of one connection; see the module. Made by a listener, for a door."""

    session: MailSession
    envelope: MailEnvelope
    transport: asyncio.Transport | None

    def __init__(
        self,
        door: Door,
        *,
        peer_address: str = "",
        admitted: bool = False,
        arriving: asyncio.Task[None] | None = None,
    ) -> None:
        """`peer_address`: the client's, where a proxy named it; `admitted`: already counted;
        `arriving`: ends the connection if it is cancelled before the connection is made.
        """
        # The parent's __init__ inspects the handler and builds streams for each connection; all it
        # would set up is the door's or replaced here.
        self.door = door
        self.loop = door.loop
        self.event_handler = door.handler
        self.hostname = door.options.hostname
        self.tls_context = door.tls
        self.transport = None
        self._admitted = admitted
        self._arriving = arriving
        self._counted_as = self._peer_address = peer_address
        self._driver: asyncio.Future[Any] | None = None  # what the dialogue waits for
        self._later: Later | None = None
        self._write_paused = False
        self._wire = Wire()
        self._lost = self._eof = False
        self._weight = 0
        self._lines = 0
        self._blank = self.envelope = self._create_envelope()
        limits = self.limits = door.stressed_limits if door.gate.stressed else door.limits
        self.patience = Patience(limits, self.loop.time())
        self.engine = Engine(
            door.options,
            limits,
            VERBS,
            hooks=door.seen_by_hooks,
            tls_possible=door.tls is not None,
        )

    # ---- the connection ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet, or refuse what is one connection too many."""
        # Not asked by isinstance: those of uvloop are such transports without saying so.
        stream = cast("asyncio.Transport", transport)
        if self._lost:  # it gave way in the turn in which its handshake was done
            stream.abort()
            return
        self.transport, self._arriving = stream, None
        self._wire.attach(stream, self.limits.write_buffer)
        self._new_session(stream)
        self.engine.tls = self.session.tls is not None
        self.door.enter(self)
        refusal = None
        if not self._admitted:
            self._counted_as = self.session.peer_address
            refusal = self.door.gate.admit(
                self._counted_as, with_login=self.door.options.auth_required
            )
            self._admitted = refusal is None
        if refusal is not None:
            self.door.count("connections_refused")
            self.engine.close(refusal)
        else:
            self._recognise()
            self.engine.greet()
            self.door.wheel.watch(self, self.patience.next_look(self.loop.time()))
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the connection; what a handler works on goes on."""
        if self._lost:
            return
        self._lost = True
        self.transport = None
        self._wire.lose()
        self.door.wheel.forget(self)
        self.door.leave(self)
        self.release()
        self.engine.close()
        if self._driver is None:
            self.weigh(0)

    def data_received(self, data: bytes) -> None:
        """Feed the engine."""
        if self._wire.ending:
            self._wire.drop(data)
            return
        self.engine.feed(data)
        if self._driver is None:
            self._go_on()
        elif self.engine.buffered > self.limits.read_ahead:
            self._wire.pause()

    def eof_received(self) -> bool | None:
        """Let the answer to what came before still go out; drop what is incomplete."""
        self._eof = True
        if self._driver is None:
            self.engine.close()
            return None
        # Keeping the connection half open has no meaning under TLS.
        return True if self.session.tls is None else None

    def pause_writing(self) -> None:
        """The client does not read its replies: its commands wait."""
        self._write_paused = True
        self._wire.pause()

    def resume_writing(self) -> None:
        """The replies are read."""
        self._write_paused = False
        if self._driver is None:
            self._go_on()
        if self._driver is None:
            self._wire.resume()

    # ---- the dialogue --------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Let the engine run as far as it can; start a task where it has to wait."""
        try:
            step = self._advance()
        except Exception as error:  # noqa: BLE001 - the border of a connection: our bug ends only it
            self._break(error)
            return
        if step is not None:
            self._wait_for(step)

    def _wait_for(self, step: Step) -> None:
        if type(step) is Later:  # a message costs no task
            self._later, self._driver = step, step.future
            step.future.add_done_callback(self._answered)
        else:
            self._driver = self.loop.create_task(self._drive(step))
        self.door.tasks.add(self._driver)

    def _answered(self, future: asyncio.Future[Any]) -> None:
        """Go on with the reply that was waited for."""
        later, self._later, self._driver = self._later, None, None
        self.door.tasks.discard(future)
        try:
            if later is not None:
                later.finish()
        except Exception as error:  # noqa: BLE001 - the border of a callback, as above
            self._break(error)
        if not self._lost:
            self._go_on()
        if self._driver is None:
            self._settle()

    def _advance(self) -> Step | None:
        """Answer events until one must be awaited, then give what to await."""
        engine = self.engine
        next_event = engine.next_event
        step = None
        while not self._write_paused and (event := next_event()) is not None:
            serve = SERVE.get(type(event))
            step = serve(self, event) if serve is not None else self._own(event)
            if step is not None:
                break
        if engine.commands != self._lines:
            self._lines = engine.commands
            self.patience.active = self.loop.time()
        if step is None and (self._weight or (engine.state is _DATA and engine.buffered)):
            self._watch_content()
        self._flush()
        return step

    def _own(self, event: object) -> Step:
        if isinstance(event, TlsWanted):
            # Reading stops before 220 is written: the handshake must meet the TLS layer.
            self._wire.pause()
            return self._upgrade()
        if isinstance(event, Penalty):
            return self._penalty(event.seconds)
        raise TypeError(f"nobody answers {event!r}")

    async def _drive(self, step: Step | None) -> None:
        """Await one answer after the other until the engine needs input."""
        later: Step | None = None
        try:
            while step is not None and not isinstance(step, Later):
                await step
                step = None if self._lost else self._advance()
            later = step
        except Exception as error:  # noqa: BLE001 - the border of a task, as above
            self._break(error)
        finally:
            if self._driver is not None:
                self.door.tasks.discard(self._driver)
            self._driver = None
            if later is not None:
                self._wait_for(later)
            else:
                self._settle()

    def _settle(self) -> None:
        """After waiting: take input again, or end what the client has left."""
        self.patience.active = self.loop.time()
        if self._lost:
            self.weigh(0)
        elif self._eof:
            self.engine.close()
            self._wire.end(half=False)
        elif not self._write_paused:
            self._wire.resume()

    async def _penalty(self, seconds: float) -> None:
        self.door.count("errors_delayed")
        await asyncio.sleep(seconds)
        if not self.engine.closed:
            self.engine.resume()

    def answer(self, reply: bytes) -> None:
        """Answer the engine, unless the connection ended meanwhile."""
        if self.engine.state is not _CLOSED:
            self.engine.answer(reply)

    def begin_envelope(self) -> MailEnvelope:
        """A new transaction."""
        self.envelope = self._create_envelope()
        return self.envelope

    def end_envelope(self) -> None:
        """The transaction is over; its content is not kept until the next."""
        self.envelope = self._blank

    def tell_name(self) -> None:
        """Let handlers see the name that the client gave."""
        self.session.helo = self.session.host_name = self.engine.helo

    async def _upgrade(self) -> None:
        context, transport = self.door.tls, self.transport
        if context is None or transport is None or self.engine.closed:
            return
        try:
            upgraded = await self.loop.start_tls(
                transport,
                self,
                context,
                server_side=True,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS,
            )
        except (OSError, ssl.SSLError):
            upgraded = None
        if upgraded is None or self._lost or self.engine.closed:
            self.door.count("tls_failed")
            (upgraded or transport).abort()
            # Until the handshake is done the TLS layer tells nobody that the connection is gone.
            self.connection_lost(None)
            return
        self.transport = upgraded
        self._wire.attach(upgraded, self.limits.write_buffer)
        self._new_session(upgraded)
        self.envelope = self._blank
        self.engine.tls_started()
        hook = self.door.hooks.get("STARTTLS")
        if hook is not None and not hook(self, self.session, self.envelope):
            self.engine.close(replies.TLS_REFUSED)
        else:
            self._recognise()

    def _new_session(self, transport: asyncio.Transport) -> None:
        """Start over, knowing only who is at the other end (RFC 3207 section 4.2)."""
        self.session = self._create_session()
        self.session.learn(transport, self._peer_address)

    def _recognise(self) -> None:
        """Log a client in by its address, if the authenticator knows it."""
        login = None if self.door.recognise is None else self.door.recognise(self.session)
        if login is not None:
            self.session.login = login
            self.session.authenticated = True
            self.engine.authenticated = self.engine.recognised = True
            self.know()

    def know(self) -> None:
        """Somebody logged in: stress is for strangers."""
        self.door.know(self)
        if self.limits is not self.door.limits:
            self.limits = self.engine.limits = self.door.limits
            self.patience.relax(self.limits)

    def _create_session(self) -> MailSession:
        return MailSession(self.loop)

    def _create_envelope(self) -> MailEnvelope:
        return MailEnvelope()

    async def push(self, status: Any) -> None:
        """Write a line beside the dialogue, for handlers of aiosmtpd that answer on their own."""
        self.engine.say(status.encode("ascii", "replace") if isinstance(status, str) else status)
        self._flush()

    def _flush(self) -> None:
        """Write all replies at once; end the connection if the engine said its last."""
        if self._lost:
            return
        engine = self.engine
        output = engine.take_output()
        if output:
            if output[:1] in b"45" or b"\r\n4" in output or b"\r\n5" in output:
                self.door.note_limits(output)
            self._wire.write(output)
        if engine.state is _CLOSED and not self._wire.ending and not self._eof:
            self.weigh(0)
            self._wire.end(half=self.session.tls is None)
            self.door.wheel.watch(self, self.loop.time() + self.limits.linger)

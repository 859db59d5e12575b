"""One SMTP connection: aiosmtpd's session class with our own path for the bytes.

From aiosmtpd it keeps what others plug into: handler hooks, authenticators, Session, Envelope. The
dialogue is the engine's. This module guarantees: an answer is awaited only where something must be
awaited (a login, a hook that is a coroutine, the end of DATA); a message handed over is never
cancelled, whatever the client does; an error of a handler becomes `451 4.3.0` and nothing of its
text goes out; an error of ours closes the connection; input and output held are bounded.

Who may connect is the gate's part, when a client was silent too long the wheel's.
"""

import asyncio
import inspect
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiosmtpd.smtp import MISSING, SMTP

from relay.errors import RefusedError, SpoolFullError
from relay.submission import events, replies
from relay.submission.door import Door, TryLater
from relay.submission.engine import Engine, State
from relay.submission.envelope import MailEnvelope, MailSession, TlsInfo
from relay.submission.verbs import VERBS, hello_reply

log = logging.getLogger(__name__)

_HANDSHAKE_SECONDS = 30.0
_LINGER_OCTETS = 1 << 20

Step = Awaitable[None]
Finish = Callable[[bytes], None]


class SubmissionSession(SMTP):
    """The protocol of one connection; see the module. Made by a listener, for a door."""

    session: MailSession
    envelope: MailEnvelope
    transport: asyncio.Transport | None

    def __init__(self, door: Door, *, peer_address: str = "", admitted: bool = False) -> None:
        """`peer_address`: the client's, where a proxy named it; `admitted`: already counted."""
        # The parent's __init__ inspects the handler and builds streams for each connection; all it
        # would set up is the door's or replaced here.
        self.door = door
        self.loop = door.loop
        self.event_handler = door.handler
        self.hostname = door.options.hostname
        self.tls_context = door.tls
        self.transport = None
        self._admitted = admitted
        self._counted_as = self._peer_address = peer_address
        self._driver: asyncio.Task[None] | None = None
        self._write_paused = False
        self._read_paused = False
        self._closing = False
        self._lost = False
        self._eof = False
        self._drained = 0
        self._weight = 0
        self._began = self._active = self.loop.time()
        self._lines = 0
        self._data_since = 0.0
        self._data_octets = 0
        limits = door.stressed_limits if door.gate.stressed else door.limits
        self.limits = limits
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
        self.transport = stream = cast("asyncio.Transport", transport)
        stream.set_write_buffer_limits(high=self.limits.write_buffer)
        self._new_session(stream)
        self.envelope = self._create_envelope()
        self.engine.tls = self.session.tls is not None
        self.door.enter(self)
        refusal = None
        if not self._admitted:
            refusal = self.door.gate.admit(
                self.session.peer_address, with_login=self.door.options.auth_offered
            )
            self._admitted = refusal is None
            self._counted_as = self.session.peer_address
        if refusal is not None:
            self.door.count("connections_refused")
            self.engine.close(refusal)
        else:
            self._recognise()
            self.engine.greet()
            self.door.wheel.watch(self, self._began + self._poll())
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the connection; what a handler works on goes on."""
        self._lost = True
        self.door.wheel.forget(self)
        self.door.leave(self)
        self.release()
        self.engine.close()
        if self._driver is None:
            self._weigh(0)
        self.transport = None

    def data_received(self, data: bytes) -> None:
        """Feed the engine."""
        if self._closing:
            self._drained += len(data)
            if self._drained > _LINGER_OCTETS and self.transport is not None:
                self.transport.abort()
            return
        engine = self.engine
        engine.feed(data)
        if self._driver is None:
            self._go_on()
        elif engine.buffered > self.limits.read_ahead:
            self._pause_reading()

    def eof_received(self) -> bool | None:
        """Let the answer to what came before still go out; drop what is incomplete."""
        self._eof = True
        if self._driver is not None and self.session.tls is None:
            return True
        if self._driver is None:
            self.engine.close()
        return None

    def pause_writing(self) -> None:
        """The client does not read its replies: its commands wait."""
        self._write_paused = True
        self._pause_reading()

    def resume_writing(self) -> None:
        """The replies are read."""
        self._write_paused = False
        if self._driver is None:
            self._go_on()
            self._resume_reading()

    # ---- events --------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Let the engine run as far as it can; start a task where it has to wait."""
        try:
            step = self._advance()
        except Exception as error:  # noqa: BLE001 - the border of a connection: our bug ends only it
            self._break(error)
            return
        if step is not None:
            self._driver = self.loop.create_task(self._drive(step))
            self.door.tasks.add(self._driver)

    def _advance(self) -> Step | None:
        """Answer events until one must be awaited, then give what to await."""
        engine = self.engine
        step = None
        while not self._write_paused and (event := engine.next_event()) is not None:
            step = _SERVE[type(event)](self, event)
            if step is not None:
                break
        if engine.commands != self._lines:
            self._lines = engine.commands
            self._active = self.loop.time()
        if step is None and (engine.state is State.DATA or self._weight):
            self._watch_content()
        self._flush()
        return step

    async def _drive(self, step: Step | None) -> None:
        """Await one answer after the other until the engine needs input."""
        try:
            while step is not None:
                await step
                step = None if self._lost else self._advance()
        except Exception as error:  # noqa: BLE001 - the border of a task, as above
            self._break(error)
        finally:
            if self._driver is not None:
                self.door.tasks.discard(self._driver)
            self._driver = None
            self._settle()

    def _settle(self) -> None:
        """After waiting: take input again, or end what the client has left."""
        self._active = self.loop.time()
        if self._lost:
            self._weigh(0)
        elif self._eof and self.transport is not None:
            self.engine.close()
            self.transport.close()
        elif not self._write_paused:
            self._resume_reading()

    def _serve_sender(self, event: events.SenderGiven) -> Step | None:
        session = self.session
        still_valid = getattr(session.login, "still_valid", None)
        if still_valid is not None and not still_valid():
            session.login = session.authenticated = None
            self.engine.forget_login()
            self.door.count("logins_revoked")
            self._answer(replies.LOGIN_REVOKED)
            return None
        envelope = self.envelope = self._create_envelope()
        parameters = event.parameters
        envelope.sender = event.sender
        envelope.smtputf8 = envelope.smtp_utf8 = parameters.smtputf8
        envelope.body_8bit = parameters.eightbit
        envelope.ret, envelope.envid = parameters.ret, parameters.envid
        address = "" if event.sender is None else str(event.sender)
        hook = self.door.hooks.get("MAIL")
        options = list(event.typed)
        if hook is not None:
            return self._call(hook, self._answer_sender, replies.SENDER_OK, address, options)
        envelope.mail_from = address
        envelope.mail_options = options
        self.engine.answer(replies.SENDER_OK)
        return None

    def _answer_sender(self, reply: bytes) -> None:
        if self.envelope.mail_from is None and reply[:1] == b"2":
            sender = self.envelope.sender
            self.envelope.mail_from = "" if sender is None else str(sender)
        self._answer(reply)

    def _serve_recipient(self, event: events.RecipientGiven) -> Step | None:
        hook = self.door.hooks.get("RCPT")
        if hook is None:
            self._take_recipient(event, replies.RECIPIENT_OK)
            return None
        return self._call(
            hook,
            lambda reply: self._take_recipient(event, reply),
            replies.RECIPIENT_OK,
            str(event.recipient.mailbox),
            list(event.typed),
        )

    def _take_recipient(self, event: events.RecipientGiven, reply: bytes) -> None:
        if reply[:1] == b"2":
            envelope = self.envelope
            envelope.recipients.append(event.recipient)
            if len(envelope.rcpt_tos) < len(envelope.recipients):
                envelope.rcpt_tos.append(str(event.recipient.mailbox))
                envelope.rcpt_options.extend(event.typed)
        self._answer(reply)

    def _serve_content_wanted(self, _event: events.ContentWanted) -> None:
        if self.door.gate.has_room:
            self.engine.answer(replies.START_CONTENT)
            self._data_since = self.loop.time()
            self._data_octets = 0
        else:
            self.door.count("content_refused")
            self.engine.answer(replies.NO_SPACE)

    def _serve_message(self, event: events.MessageGiven) -> Step | None:
        envelope = self.envelope
        envelope.content = envelope.original_content = event.content
        self._weigh(len(event.content))
        hook = self.door.hooks.get("DATA")
        if hook is None:
            self._answer_message(replies.MESSAGE_OK)
            return None
        return self._call(hook, self._answer_message, replies.MESSAGE_OK)

    def _answer_message(self, reply: bytes) -> None:
        self.envelope = self._create_envelope()
        self._weigh(0)
        self._answer(reply)

    def _serve_hello(self, event: events.HelloGiven) -> Step | None:
        usual = hello_reply(event.lines)
        if not event.extended:
            hook = self.door.hooks["HELO"]
            return self._call(
                hook, lambda reply: self._answer_hello(event, reply), usual, event.name
            )
        codes = ["250-"] * (len(event.lines) - 1) + ["250 "]
        lines = [code + line.decode("ascii") for code, line in zip(codes, event.lines, strict=True)]
        hook = self.door.hooks["EHLO"]
        return self._call(
            hook, lambda reply: self._answer_hello(event, reply), usual, event.name, lines
        )

    def _answer_hello(self, event: events.HelloGiven, reply: bytes) -> None:
        if reply[:1] == b"2":
            self.session.extended_smtp = event.extended
        self._answer(reply)

    def _serve_command(self, event: events.CommandGiven) -> Step | None:
        arguments = (event.argument,) if event.verb in ("NOOP", "VRFY") else ()
        return self._call(self.door.hooks[event.verb], self._answer, event.reply, *arguments)

    async def _serve_penalty(self, event: events.Penalty) -> None:
        self.door.count("errors_delayed")
        await asyncio.sleep(event.seconds)
        if not self._lost and not self.engine.closed:
            self.engine.resume()

    # ---- hooks ---------------------------------------------------------------------------------

    def _call(
        self, hook: Callable[..., Any], finish: Finish, usual: bytes, *arguments: object
    ) -> Step | None:
        """Call a hook and finish with its reply; give what to await if that is not there yet."""
        self.session.helo = self.session.host_name = self.engine.helo
        try:
            result = hook(self, self.session, self.envelope, *arguments)
        except Exception as error:  # noqa: BLE001 - the border to a handler
            return self._fail(error, finish)
        if inspect.isawaitable(result):
            return self._finish_later(result, finish, usual)
        finish(_reply(result, usual))
        return None

    async def _finish_later(self, result: Awaitable[Any], finish: Finish, usual: bytes) -> None:
        try:
            reply = _reply(await result, usual)
        except Exception as error:  # noqa: BLE001 - the border to a handler
            await self._fail(error, finish)
        else:
            finish(reply)

    async def _fail(self, error: Exception, finish: Finish) -> None:
        """Finish with the reply for an exception of a handler; its text stays with us."""
        handle = getattr(self.event_handler, "handle_exception", None)
        reply = replies.LOCAL_ERROR
        if isinstance(error, RefusedError):
            reply = replies.checked(error.reply)
        elif isinstance(error, SpoolFullError):
            reply = replies.NO_SPACE
        elif handle is not None:
            try:
                reply = replies.checked(await handle(error))
            except Exception:
                log.exception("the exception hook of a handler failed")
        else:
            log.error("a handler failed", exc_info=error)
            self.door.count("handler_errors")
        finish(reply)

    def _answer(self, reply: bytes) -> None:
        """Answer the engine, unless the connection ended meanwhile."""
        if not self.engine.closed:
            self.engine.answer(reply)

    # ---- login and TLS -------------------------------------------------------------------------

    def _recognise(self) -> None:
        """Log a client in by its address, if the authenticator knows it."""
        if self.door.recognise is None:
            return
        login = self.door.recognise(self.session)
        if login is not None:
            self.session.login = login
            self.session.authenticated = True
            self.engine.authenticated = True

    def _serve_login(self, event: events.LoginTried) -> Step | None:
        refusal = self.door.gate.login_refusal(self.session.peer_address, event.login)
        if refusal is None:
            return self._check_login(event)
        self.door.count("logins_throttled")
        self._answer(refusal)
        return None

    async def _check_login(self, event: events.LoginTried) -> None:
        self.session.helo = self.session.host_name = self.engine.helo
        authenticator = self.door.authenticator
        login: object | None = None
        reply = replies.AUTH_FAILED
        try:
            if authenticator is not None:
                login = await authenticator.authenticate(
                    event.mechanism, event.login, event.password, self.session
                )
        except TryLater as later:
            reply = replies.checked(later.reply)
        except Exception:
            log.exception("an authenticator failed")
            reply = replies.AUTH_UNAVAILABLE
        else:
            if login is None:
                self.door.gate.note_failure(self.session.peer_address, event.login)
                self.door.count("logins_failed")
            else:
                self.session.login = login
                self.session.authenticated = True
                reply = replies.AUTH_OK
        self._answer(reply)

    def _serve_tls(self, _event: events.TlsWanted) -> Step:
        # Reading stops before 220 is written: a fast client's handshake must meet the TLS layer.
        self._pause_reading()
        return self._upgrade()

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
        self._read_paused = False
        if upgraded is None or self._lost:
            self.door.count("tls_failed")
            transport.abort()
            return
        self.transport = upgraded
        upgraded.set_write_buffer_limits(high=self.limits.write_buffer)
        self._new_session(upgraded)
        self.envelope = self._create_envelope()
        hook = self.door.hooks.get("STARTTLS")
        self.engine.tls_started()
        if hook is not None and not hook(self, self.session, self.envelope):
            self.engine.close(replies.TLS_REFUSED)
        elif self.door.recognise is not None:
            self._recognise()

    def _new_session(self, transport: asyncio.Transport) -> None:
        """Start over, knowing only who is at the other end (RFC 3207 section 4.2)."""
        session = self.session = self._create_session()
        session.peer = peer = transport.get_extra_info("peername")
        session.peer_address = self._peer_address or (str(peer[0]) if peer else "")
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            cipher = tls.cipher()
            session.ssl = {"ssl_object": tls, "cipher": cipher}
            session.tls = TlsInfo(version=tls.version() or "", cipher=cipher[0] if cipher else "")

    def _create_session(self) -> MailSession:
        return MailSession(self.loop)

    def _create_envelope(self) -> MailEnvelope:
        return MailEnvelope()

    # ---- output, pauses and the end ------------------------------------------------------------

    async def push(self, status: str | bytes) -> None:
        """Write a line beside the dialogue, for handlers of aiosmtpd that answer on their own."""
        line = status.encode("ascii", "replace") if isinstance(status, str) else status
        self.engine.say(line)
        self._flush()

    def _flush(self) -> None:
        """Write all replies at once; end the connection if the engine said its last."""
        if self.transport is None:
            return
        output = self.engine.take_output()
        if output:
            self.transport.write(output)
        if self.engine.closed and not self._closing and not self._eof:
            self._close()

    def _close(self) -> None:
        """End our side, then let the client read: a reset would take its last reply away."""
        transport = self.transport
        self._closing = True
        self._weigh(0)
        if transport is None:
            return
        if self.session.tls is None and transport.can_write_eof():
            transport.write_eof()
            self._resume_reading()
        else:
            transport.close()
        self.door.wheel.watch(self, self.loop.time() + self.limits.linger)

    def _break(self, error: Exception) -> None:
        """End at once after an error of our own."""
        log.error("a session failed and was closed", exc_info=error)
        self.door.count("session_errors")
        self.engine.close()
        if self.transport is not None:
            self.transport.abort()

    def _pause_reading(self) -> None:
        if not self._read_paused and self.transport is not None:
            self._read_paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._read_paused and self.transport is not None:
            self._read_paused = False
            self.transport.resume_reading()

    def cut(self) -> None:
        """End the connection at once."""
        self.engine.close()
        if self.transport is not None:
            self.transport.abort()

    def release(self) -> None:
        """Give the place among the admitted connections back."""
        if self._admitted:
            self._admitted = False
            self.door.gate.leave(self._counted_as)

    def retire(self, reply: bytes) -> None:
        """Close between messages, with a 421 reply; see Engine.retire."""
        self.engine.retire(reply)
        self._flush()

    # ---- deadlines -----------------------------------------------------------------------------

    def _poll(self) -> float:
        limits = self.limits
        return min(limits.idle, limits.data_window, limits.age)

    def look(self, now: float) -> float | None:
        """Called by the wheel: cut what is too slow; give the time of the next look."""
        if self._lost or self.transport is None:
            return None
        if self._closing:
            self.transport.abort()
            return None
        reply = None
        if self._driver is None:
            reply = self._slow_content(now) if self.engine.state is State.DATA else self._idle(now)
        if reply is not None:
            self.door.count("deadlines")
            self.engine.close(reply)
        elif now - self._began >= self.limits.age:
            self.engine.retire(replies.TOO_OLD)
        self._flush()
        return None if self.engine.closed else now + self._poll()

    def _idle(self, now: float) -> bytes | None:
        return replies.IDLE if now - self._active >= self.limits.idle else None

    def _slow_content(self, now: float) -> bytes | None:
        """Content must reach a rate over each window, and end soon after the connection's age."""
        limits = self.limits
        if now - self._began >= limits.age + limits.last_data:
            return replies.TOO_OLD
        elapsed = now - self._data_since
        if elapsed < limits.data_window:
            return None
        octets = self.engine.buffered
        if octets - self._data_octets < limits.data_rate * elapsed:
            return replies.TOO_SLOW
        self._data_since, self._data_octets = now, octets
        return None

    # ---- weight --------------------------------------------------------------------------------

    def _watch_content(self) -> None:
        """Keep the sum of all content within its bound; content that comes beyond is cut."""
        self._weigh(self.engine.buffered if self.engine.state is State.DATA else 0)
        gate = self.door.gate
        if gate.inflight > gate.limits.inflight * 1.25:
            self.door.count("content_cut")
            self.engine.close(replies.NO_SPACE_LEFT)

    def _weigh(self, octets: int) -> None:
        self.door.gate.inflight += octets - self._weight
        self._weight = octets


def _reply(result: object, usual: bytes) -> bytes:
    """What a hook gave, as a reply; a list is that of handle_EHLO."""
    if result is None or result is MISSING:
        return usual
    if isinstance(result, list):
        result = "\r\n".join(map(str, result))
        return replies.checked(result, enhanced=False)
    return replies.checked(result)


_SERVE: dict[type, Callable[[SubmissionSession, Any], Step | None]] = {
    events.HelloGiven: SubmissionSession._serve_hello,
    events.LoginTried: SubmissionSession._serve_login,
    events.TlsWanted: SubmissionSession._serve_tls,
    events.SenderGiven: SubmissionSession._serve_sender,
    events.RecipientGiven: SubmissionSession._serve_recipient,
    events.ContentWanted: SubmissionSession._serve_content_wanted,
    events.MessageGiven: SubmissionSession._serve_message,
    events.CommandGiven: SubmissionSession._serve_command,
    events.Penalty: SubmissionSession._serve_penalty,
}

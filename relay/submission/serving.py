"""How each event of the engine is answered: by a hook of the handler, or by the usual reply.

The seam between the dialogue and whoever decides about mail. An exception of a hook becomes
`451 4.3.0` with a fixed text; what a hook returns is checked before it goes out. A hook may be a
coroutine function, as aiosmtpd has it, or a plain function, which saves a task per recipient.

Each function answers at once and gives None, or gives what must be awaited for the answer. A hook
that waits for one future only may give it in a `Pending`, which saves the task.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NamedTuple

from aiosmtpd.smtp import MISSING

from relay.errors import RefusedError, SpoolFullError
from relay.submission import events, replies
from relay.submission.door import TryLater
from relay.submission.verbs import hello_reply

if TYPE_CHECKING:
    from relay.submission.session import SubmissionSession

log = logging.getLogger(__name__)


class Pending(NamedTuple):
    """What a hook may give in place of a reply: `reply` makes one when `future` is done."""

    future: asyncio.Future[Any]
    reply: Callable[[], str]


class Later(NamedTuple):
    """The same on the session's side: `finish` answers the engine when `future` is done."""

    future: asyncio.Future[Any]
    finish: Callable[[], None]


Step = Awaitable[None] | Later
Finish = Callable[["SubmissionSession", Any, bytes], None]


def _sender(session: "SubmissionSession", event: events.SenderGiven) -> Step | None:
    if not _login_holds(session):
        session.door.count("logins_revoked")
        session.engine.answer(replies.LOGIN_REVOKED)
        return None
    envelope = session.begin_envelope()
    parameters = event.parameters
    envelope.sender = event.sender
    envelope.smtputf8 = envelope.smtp_utf8 = parameters.smtputf8
    envelope.body_8bit = parameters.eightbit
    envelope.ret, envelope.envid = parameters.ret, parameters.envid
    hook = session.door.hooks.get("MAIL")
    if hook is None:
        _finish_sender(session, event, replies.SENDER_OK)
        return None
    return _call(
        session,
        hook,
        _finish_sender,
        event,
        replies.SENDER_OK,
        _sender_text(event),
        _typed(event.typed),
    )


def _login_holds(session: "SubmissionSession") -> bool:
    """Ask a login that can be revoked; a revoked one is forgotten."""
    login = session.session.login
    if login is None:
        return True
    still_valid = getattr(login, "still_valid", None)
    if still_valid is None or still_valid():
        return True
    session.session.login = session.session.authenticated = None
    session.engine.authenticated = False
    return False


def _finish_sender(session: "SubmissionSession", event: events.SenderGiven, reply: bytes) -> None:
    envelope = session.envelope
    if envelope.mail_from is None and reply[:1] == b"2":
        envelope.mail_from = _sender_text(event)
        envelope.mail_options = _typed(event.typed)
    session.answer(reply)


def _sender_text(event: events.SenderGiven) -> str:
    return "" if event.sender is None else str(event.sender)


def _recipient(session: "SubmissionSession", event: events.RecipientGiven) -> Step | None:
    hook = session.door.hooks.get("RCPT")
    if hook is None:
        _finish_recipient(session, event, replies.RECIPIENT_OK)
        return None
    text = str(event.recipient.mailbox)
    return _call(
        session, hook, _finish_recipient, event, replies.RECIPIENT_OK, text, _typed(event.typed)
    )


def _finish_recipient(
    session: "SubmissionSession", event: events.RecipientGiven, reply: bytes
) -> None:
    if reply[:1] == b"2":
        envelope = session.envelope
        envelope.recipients.append(event.recipient)
        if len(envelope.rcpt_tos) < len(envelope.recipients):
            envelope.rcpt_tos.append(str(event.recipient.mailbox))
            if event.typed:
                envelope.rcpt_options.extend(_typed(event.typed))
    session.answer(reply)


def _content_wanted(session: "SubmissionSession", _event: events.ContentWanted) -> None:
    if session.door.gate.has_room:
        session.patience.note_content_begins(session.loop.time())
        session.engine.answer(replies.START_CONTENT)
    else:
        session.door.count("content_refused")
        session.engine.answer(replies.NO_SPACE)


def _message(session: "SubmissionSession", event: events.MessageGiven) -> Step | None:
    session.weigh(len(event.content))
    envelope = session.envelope
    envelope.content = envelope.original_content = event.content
    hook = session.door.hooks.get("DATA")
    if hook is None:
        _finish_message(session, event, replies.MESSAGE_OK)
        return None
    return _call(session, hook, _finish_message, event, replies.MESSAGE_OK)


def _finish_message(
    session: "SubmissionSession", _event: events.MessageGiven, reply: bytes
) -> None:
    session.end_envelope()
    session.weigh(0)
    session.answer(reply)


def _hello(session: "SubmissionSession", event: events.HelloGiven) -> Step | None:
    session.begin_envelope()  # what was said before is forgotten, for hooks too
    usual = hello_reply(event.lines)
    if not event.extended:
        return _call(session, session.door.hooks["HELO"], _finish_hello, event, usual, event.name)
    codes = ["250-"] * (len(event.lines) - 1) + ["250 "]
    lines = [code + line.decode("ascii") for code, line in zip(codes, event.lines, strict=True)]
    return _call(
        session, session.door.hooks["EHLO"], _finish_hello, event, usual, event.name, lines
    )


def _finish_hello(session: "SubmissionSession", event: events.HelloGiven, reply: bytes) -> None:
    if reply[:1] == b"2":
        session.session.extended_smtp = event.extended
    session.answer(reply)


def _command(session: "SubmissionSession", event: events.CommandGiven) -> Step | None:
    if not session.engine.in_transaction:
        session.begin_envelope()
    arguments = (event.argument,) if event.verb in ("NOOP", "VRFY") else ()
    hook = session.door.hooks[event.verb]
    return _call(session, hook, _finish_command, event, event.reply, *arguments)


def _finish_command(
    session: "SubmissionSession", _event: events.CommandGiven, reply: bytes
) -> None:
    session.answer(reply)


def _login(session: "SubmissionSession", event: events.LoginTried) -> Step | None:
    refusal = session.door.gate.login_refusal(session.session.peer_address, event.login)
    if refusal is None:
        return _check_login(session, event)
    session.door.count("logins_throttled")
    session.answer(refusal)
    return None


async def _check_login(session: "SubmissionSession", event: events.LoginTried) -> None:
    door, about = session.door, session.session
    session.tell_name()
    login: object | None = None
    reply = replies.AUTH_FAILED
    try:
        if door.authenticator is not None:
            login = await door.authenticator.authenticate(
                event.mechanism, event.login, event.password, about
            )
    except TryLater as later:
        reply = replies.checked(later.reply)
    except Exception:
        log.exception("an authenticator failed")
        reply = replies.AUTH_UNAVAILABLE
    else:
        if login is None:
            door.gate.note_failure(about.peer_address, event.login)
            door.count("logins_failed")
        else:
            about.login = login
            about.authenticated = True
            session.engine.recognised = False
            session.know()
            reply = replies.AUTH_OK
    session.answer(reply)


def _call(
    session: "SubmissionSession",
    hook: Callable[..., Any],
    finish: Finish,
    event: events.Event,
    usual: bytes,
    *arguments: object,
) -> Step | None:
    """Call a hook and finish with its reply; give what to await if that is not there yet."""
    session.tell_name()
    try:
        result = hook(session, session.session, session.envelope, *arguments)
    except Exception as error:  # noqa: BLE001 - the border to a handler
        return _fail(session, error, finish, event)
    if type(result) is Pending:
        answer = partial(_finish_pending, session, result, finish, event, usual)
        return Later(result.future, answer)
    if type(result) is CoroutineType or inspect.isawaitable(result):
        return _finish_later(session, result, finish, event, usual)
    finish(session, event, _reply(result, event, usual))
    return None


def _finish_pending(
    session: "SubmissionSession",
    pending: Pending,
    finish: Finish,
    event: events.Event,
    usual: bytes,
) -> None:
    try:
        reply = _reply(pending.reply(), event, usual)
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the border to a handler
        reply = _local_error(session, error)
    finish(session, event, reply)


async def _finish_later(
    session: "SubmissionSession",
    result: Awaitable[Any],
    finish: Finish,
    event: events.Event,
    usual: bytes,
) -> None:
    try:
        reply = _reply(await result, event, usual)
    except Exception as error:  # noqa: BLE001 - the border to a handler
        await _fail(session, error, finish, event)
    else:
        finish(session, event, reply)


async def _fail(
    session: "SubmissionSession", error: Exception, finish: Finish, event: events.Event
) -> None:
    """Finish with the reply for an exception of a handler; its text stays with us."""
    handle = getattr(session.door.handler, "handle_exception", None)
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
        reply = _local_error(session, error)
    finish(session, event, reply)


def _local_error(session: "SubmissionSession", error: BaseException) -> bytes:
    log.error("a handler failed", exc_info=error)
    session.door.count("handler_errors")
    return replies.LOCAL_ERROR


def _reply(result: object, event: events.Event, usual: bytes) -> bytes:
    """What a hook gave, as a reply; a list is that of handle_EHLO."""
    if result is None or result is MISSING:
        return usual
    if isinstance(result, list):
        result = "\r\n".join(map(str, result))
    return replies.checked(result, enhanced=not isinstance(event, events.HelloGiven))


def _typed(parameters: bytes) -> list[str]:
    """Parameters in the form that handlers of aiosmtpd expect."""
    return parameters.decode("utf-8", "replace").split() if parameters else []


SERVE: dict[type, Callable[["SubmissionSession", Any], Step | None]] = {
    events.HelloGiven: _hello,
    events.LoginTried: _login,
    events.SenderGiven: _sender,
    events.RecipientGiven: _recipient,
    events.ContentWanted: _content_wanted,
    events.MessageGiven: _message,
    events.CommandGiven: _command,
}
"""Who answers which event; TlsWanted and Penalty are the session's own affair."""

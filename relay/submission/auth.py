"""The AUTH command: when it is allowed, and the dialogue that follows (RFC 4954 section 4)."""

from functools import partial
from typing import TYPE_CHECKING

from relay.submission import replies, sasl
from relay.submission.events import Event, LoginTried

if TYPE_CHECKING:
    from relay.submission.engine import Engine


def auth(engine: "Engine", argument: bytes) -> Event | None:
    """The verb."""
    refusal = _refusal(engine)
    if refusal is not None:
        engine.fail(refusal)
        return None
    if engine.failed_logins >= engine.limits.auth_failures:
        engine.close(replies.TOO_MANY_FAILED_LOGINS)
        return None
    words = argument.split()
    if not 1 <= len(words) <= 2:
        engine.fail(replies.BAD_AUTH)
        return None
    mechanism = words[0].upper()
    if mechanism not in sasl.MECHANISMS:
        engine.fail(replies.UNKNOWN_MECHANISM)
        return None
    dialogue = sasl.Dialogue(mechanism)
    return _go_on(engine, dialogue, dialogue.start(words[1] if len(words) == 2 else None))


def _refusal(engine: "Engine") -> bytes | None:
    """Why AUTH is not possible now."""
    options = engine.options
    refusal = None
    if not options.auth_offered:
        refusal = replies.NOT_OFFERED
    elif not engine.helo or not engine.extended:
        refusal = replies.HELO_FIRST
    elif engine.authenticated and not engine.recognised:
        refusal = replies.AUTH_TWICE
    elif engine.in_transaction:
        refusal = replies.AUTH_IN_TRANSACTION
    elif options.auth_needs_tls and not engine.tls:
        refusal = replies.AUTH_NEEDS_TLS
    return refusal


def _respond(engine: "Engine", dialogue: sasl.Dialogue, line: bytes) -> Event | None:
    return _go_on(engine, dialogue, dialogue.respond(line))


def _go_on(engine: "Engine", dialogue: sasl.Dialogue, step: sasl.Step) -> Event | None:
    if isinstance(step, LoginTried):
        return step
    if step[:3] == b"334":
        engine.challenge(step, partial(_respond, engine, dialogue))
    elif step is replies.AUTH_FAILED:
        engine.fail_login(step)
    else:
        engine.fail(step)
    return None

"""What follows when an event of the engine is answered: the class of the reply decides.

One function per event that a reply answers; STARTTLS and penalties have answers of their own.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from relay.submission.events import (
    CommandGiven,
    ContentWanted,
    HelloGiven,
    LoginTried,
    MessageGiven,
    RecipientGiven,
    SenderGiven,
)

if TYPE_CHECKING:
    from relay.submission.engine import Engine


def _hello(engine: "Engine", asked: HelloGiven, reply: bytes) -> None:
    engine.say(reply)
    if reply[:1] == b"2":
        engine.helo = asked.name
        engine.extended = asked.extended


def _login(engine: "Engine", _asked: LoginTried, reply: bytes) -> None:
    if reply[:3] == b"235":
        engine.authenticated = True
        engine.say(reply)
    elif reply[:1] == b"5":
        engine.fail_login(reply)
    else:
        engine.say(reply)


def _sender(engine: "Engine", asked: SenderGiven, reply: bytes) -> None:
    if reply[:1] == b"2":
        engine.say(reply)
        engine.begin_transaction(smtputf8=asked.parameters.smtputf8)
    else:
        refuse_sender(engine, reply, charged=engine.options.count_refusals)


def refuse_sender(engine: "Engine", reply: bytes, *, charged: bool = True) -> None:
    """Refuse MAIL: what was pipelined behind it will have no sender."""
    engine.say(reply)
    engine.senderless = 0
    if charged:
        engine.charge()


def _recipient(engine: "Engine", _asked: RecipientGiven, reply: bytes) -> None:
    engine.say(reply)
    if reply[:1] == b"2":
        engine.recipients += 1
    elif engine.options.count_refusals:
        engine.charge()


def _content_wanted(engine: "Engine", _asked: ContentWanted, reply: bytes) -> None:
    """Refused, the transaction stands: the client may try DATA again, or RSET."""
    if reply[:1] == b"3":
        engine.begin_content(reply)
    else:
        engine.say(reply)


def _message(engine: "Engine", _asked: MessageGiven, reply: bytes) -> None:
    engine.say(reply)
    engine.end_transaction()
    if reply[:1] == b"2":
        engine.messages += 1
        engine.errors = engine.junk = 0


def _command(engine: "Engine", asked: CommandGiven, reply: bytes) -> None:
    engine.say(reply)
    if asked.verb == "QUIT":
        engine.close()


OUTCOMES: Mapping[type, Callable[["Engine", Any, bytes], None]] = {
    HelloGiven: _hello,
    LoginTried: _login,
    SenderGiven: _sender,
    RecipientGiven: _recipient,
    ContentWanted: _content_wanted,
    MessageGiven: _message,
    CommandGiven: _command,
}

"""The commands of the dialogue: syntax, order and limits of each (RFC 5321 section 4.1).

A verb takes the engine and its argument. It answers at once, or gives the event whose answer will
be the reply. It changes the engine only through the engine's own methods.
"""

import re
from collections.abc import Mapping

from relay.mail import addresses
from relay.mail.addresses import AddressError, Mailbox
from relay.submission import parameters, replies, sasl
from relay.submission.auth import auth
from relay.submission.engine import Engine, Verb
from relay.submission.events import (
    CommandGiven,
    ContentWanted,
    Event,
    HelloGiven,
    RecipientGiven,
    RecipientPath,
    SenderGiven,
)
from relay.submission.outcomes import refuse_sender
from relay.submission.parameters import ParameterError

# What is written into Received fields and logs must be harmless. Underscores are no part of host
# names but of the names that many clients have.
_HELO = re.compile(rb"[A-Za-z0-9_.:-]{1,255}|\[[A-Za-z0-9_.:-]{1,253}\]")

_TEXT = re.compile(rb"[ -~]+")
_UTF8_TEXT = re.compile(rb"[ -~\x80-\xff]+ SMTPUTF8", re.IGNORECASE)


def _ehlo(engine: Engine, argument: bytes) -> Event | None:
    return _hello(engine, argument, extended=True)


def _helo(engine: Engine, argument: bytes) -> Event | None:
    return _hello(engine, argument, extended=False)


def _hello(engine: Engine, argument: bytes, *, extended: bool) -> Event | None:
    name = argument.strip(b" ")
    if not _HELO.fullmatch(name):
        engine.fail(replies.BAD_HELO)
        return None
    if not engine.spend_junk():
        return None
    engine.end_transaction()
    lines = _capabilities(engine) if extended else (engine.options.hostname.encode("ascii"),)
    hello = HelloGiven(name=name.decode("ascii"), extended=extended, lines=lines)
    if ("EHLO" if extended else "HELO") in engine.hooks:
        return hello
    engine.helo = hello.name
    engine.extended = extended
    engine.say(hello_reply(lines))
    return None


def hello_reply(lines: tuple[bytes, ...]) -> bytes:
    """One reply of several lines (RFC 5321 section 4.2.1)."""
    return b"".join(b"250-" + line + b"\r\n" for line in lines[:-1]) + b"250 " + lines[-1]


def _capabilities(engine: Engine) -> tuple[bytes, ...]:
    """What EHLO announces now; what is announced is built, and nothing else."""
    options, limits = engine.options, engine.limits
    lines = [
        options.hostname.encode("ascii"),
        b"PIPELINING",
        b"SIZE %d" % limits.message,
        b"8BITMIME",
        b"ENHANCEDSTATUSCODES",
        b"LIMITS MAILMAX=%d RCPTMAX=%d" % (limits.messages, limits.recipients),
    ]
    if options.smtputf8:
        lines.append(b"SMTPUTF8")
    if options.dsn:
        lines.append(b"DSN")
    if engine.tls_possible and not engine.tls:
        lines.append(b"STARTTLS")
    if options.auth_offered and (engine.tls or not options.auth_needs_tls):
        lines.append(b"AUTH " + b" ".join(sasl.MECHANISMS))
    lines.append(b"HELP")
    return tuple(lines)


def _may_talk(engine: Engine) -> bool:
    """Whether EHLO, TLS and login are as they must be for mail; says the refusal if not."""
    options = engine.options
    if not engine.helo:
        engine.fail(replies.HELO_FIRST)
    elif options.starttls_required and not engine.tls:
        engine.fail(replies.TLS_REQUIRED)
    elif options.auth_required and not engine.authenticated:
        engine.fail(replies.AUTH_REQUIRED)
    else:
        return True
    return False


def _mail(engine: Engine, argument: bytes) -> Event | None:
    if not _may_talk(engine):
        return None
    if engine.in_transaction:
        engine.fail(replies.MAIL_TWICE)
        return None
    if engine.messages >= engine.limits.messages:
        engine.close(replies.TOO_MANY_MESSAGES)
        return None
    if argument[:5].upper() != b"FROM:":
        refuse_sender(engine, replies.BAD_MAIL)
        return None
    options, limits = engine.options, engine.limits
    try:
        text = argument[5:].lstrip(b" ")
        plain = addresses.plain_path(text, limits.local_part)
        path, rest = (b"", plain[1]) if plain is not None else addresses.split_path(text)
        if rest and not engine.extended:
            refuse_sender(engine, replies.PARAMETERS_NEED_EHLO)
            return None
        found = parameters.read_sender(
            rest, limit=limits.message, smtputf8=options.smtputf8, dsn=options.dsn
        )
        sender: Mailbox | None
        if plain is not None:
            sender = plain[0]
        else:
            sender = addresses.parse_path(
                path,
                utf8=found.smtputf8,
                null_ok=True,
                literals=options.address_literals,
                local_limit=limits.local_part,
            )
    except AddressError as error:
        refuse_sender(engine, error.reply.encode("ascii"))
    except ParameterError as error:
        refuse_sender(engine, error.reply)
    else:
        return SenderGiven(sender=sender, parameters=found, typed=rest)
    return None


def _refuse_senderless(engine: Engine) -> None:
    """Refuse RCPT or DATA outside a transaction.

    Behind a refused MAIL as many as a message has are charged once: who pipelines them could not
    know (RFC 2920). They are counted, for what is charged must not depend on the chunks.
    """
    before, most = engine.senderless, engine.limits.recipients
    if 0 <= before <= most:
        engine.senderless = before + 1
    if 0 < before <= most:
        engine.say(replies.MAIL_FIRST)
    else:
        engine.fail(replies.MAIL_FIRST)


def _rcpt(engine: Engine, argument: bytes) -> Event | None:
    if not _may_talk(engine):
        return None
    if not engine.in_transaction:
        _refuse_senderless(engine)
        return None
    if argument[:3].upper() != b"TO:":
        engine.fail(replies.BAD_RCPT)
        return None
    if engine.recipients >= engine.limits.recipients:
        engine.say(replies.TOO_MANY_RECIPIENTS)
        return None
    options, limits = engine.options, engine.limits
    try:
        text = argument[3:].lstrip(b" ")
        plain = addresses.plain_path(text, limits.local_part)
        path, rest = (b"", plain[1]) if plain is not None else addresses.split_path(text)
        if rest and not engine.extended:
            engine.fail(replies.PARAMETERS_NEED_EHLO)
            return None
        notify, orcpt = parameters.read_recipient(rest, dsn=options.dsn, smtputf8=engine.smtputf8)
        if plain is not None:
            mailbox = plain[0]
        else:
            mailbox = addresses.parse_path(
                path,
                utf8=engine.smtputf8,
                null_ok=False,
                literals=options.address_literals,
                local_limit=limits.local_part,
                postmaster=options.hostname.encode("ascii"),
            )
    except AddressError as error:
        engine.refuse_recipient(error.reply.encode("ascii"))
    except ParameterError as error:
        engine.fail(error.reply)
    else:
        recipient = RecipientPath(mailbox=mailbox, notify=notify, orcpt=orcpt)
        return RecipientGiven(recipient=recipient, typed=rest)
    return None


def _data(engine: Engine, argument: bytes) -> Event | None:
    if not _may_talk(engine):
        return None
    if argument:
        engine.fail(replies.NO_ARGUMENT)
    elif not engine.in_transaction:
        _refuse_senderless(engine)
    elif not engine.recipients:
        engine.fail(replies.RCPT_FIRST)
    else:
        return ContentWanted()
    return None


def _starttls(engine: Engine, argument: bytes) -> Event | None:
    if argument:
        engine.fail(replies.NO_ARGUMENT)
    elif engine.tls:
        engine.fail(replies.TLS_TWICE)
    elif not engine.tls_possible:
        engine.fail(replies.NOT_OFFERED)
    else:
        return engine.want_tls()
    return None


def _rset(engine: Engine, argument: bytes) -> Event | None:
    if argument:
        engine.fail(replies.NO_ARGUMENT)
        return None
    engine.end_transaction()
    return _simple(engine, "RSET", argument, replies.RESET)


def _noop(engine: Engine, argument: bytes) -> Event | None:
    return _simple(engine, "NOOP", argument, replies.OK)


def _vrfy(engine: Engine, argument: bytes) -> Event | None:
    if not argument:
        engine.fail(replies.BAD_VRFY)
        return None
    if engine.options.smtputf8 and _UTF8_TEXT.fullmatch(argument):  # RFC 6531 section 3.7.4.2
        argument = argument.decode("utf-8", "replace").encode("ascii", "replace")
    # The same answer for every name: who exists is nobody's business.
    return _simple(engine, "VRFY", argument, replies.CANNOT_VERIFY)


def _help(engine: Engine, argument: bytes) -> Event | None:
    return _simple(engine, "HELP", argument, replies.HELP)


def _simple(engine: Engine, verb: str, argument: bytes, reply: bytes) -> Event | None:
    """A command that moves no mail."""
    if argument and not _TEXT.fullmatch(argument):
        engine.fail(replies.BAD_ARGUMENT)
        return None
    if not engine.spend_junk():
        return None
    if verb in engine.hooks:
        text = argument.decode("utf-8", "replace")
        return CommandGiven(verb=verb, argument=text, reply=reply)
    engine.say(reply)
    return None


def _expn(engine: Engine, _argument: bytes) -> Event | None:
    engine.fail(replies.NOT_OFFERED)
    return None


def _bdat(engine: Engine, _argument: bytes) -> Event | None:
    # The chunk follows without waiting for our reply and would be read as commands.
    engine.close(replies.NOT_OFFERED)
    return None


def _quit(engine: Engine, argument: bytes) -> Event | None:
    if argument:
        engine.fail(replies.NO_ARGUMENT)
        return None
    if "QUIT" in engine.hooks:
        return CommandGiven(verb="QUIT", argument="", reply=replies.BYE)
    engine.close(replies.BYE)
    return None


VERBS: Mapping[bytes, Verb] = {
    b"EHLO": _ehlo,
    b"HELO": _helo,
    b"MAIL": _mail,
    b"RCPT": _rcpt,
    b"DATA": _data,
    b"AUTH": auth,
    b"STARTTLS": _starttls,
    b"RSET": _rset,
    b"NOOP": _noop,
    b"VRFY": _vrfy,
    b"HELP": _help,
    b"EXPN": _expn,
    b"BDAT": _bdat,
    b"QUIT": _quit,
}

"""The SMTP dialogue of a server without any I/O: octets in, replies and events out.

Guarantees, for any input in any chunking: only CRLF ends a line; replies come in the order of the
commands; an event stops the engine until `answer`, so nothing overtakes anything; memory is bounded
by the limits; a refused or broken transaction leaves nothing behind. The only errors that leave
`feed` and `next_event` are bugs; what the client does wrong becomes a reply.

Left to others: sockets, TLS, time and delays (`session.py`), who may log in and send, and storing
what came. Commands are in `verbs.py`, lines in `reader.py`, content in `content.py`, what an answer
changes in `outcomes.py`; the states are in `states.py`.
"""

from collections.abc import Callable, Mapping

from relay.mail import lines
from relay.submission import content, replies
from relay.submission.events import Event, MessageGiven, Penalty, TlsWanted
from relay.submission.foreign import is_foreign
from relay.submission.options import SessionLimits, SessionOptions
from relay.submission.outcomes import OUTCOMES
from relay.submission.reader import LineReader
from relay.submission.states import EngineError, State

# Members of an enumeration are looked up slowly; these names are read for each command.
_COMMAND, _SASL, _DATA, _ASKED, _CLOSED = State

Verb = Callable[["Engine", bytes], Event | None]


class Engine:
    """One connection's dialogue.

    Attributes for the verbs and the session: `helo` (empty before EHLO), `extended`, `tls`,
    `authenticated`, `in_transaction`, `smtputf8` (of the transaction), `recipients`, `messages`
    (counts), `senderless` (commands without a sender since MAIL was refused; -1: it was not),
    `state`, `failed_logins`, `commands` (lines answered so far).
    """

    def __init__(
        self,
        options: SessionOptions,
        limits: SessionLimits,
        verbs: Mapping[bytes, Verb],
        *,
        hooks: frozenset[str] = frozenset(),
        tls: bool = False,
        tls_possible: bool = False,
    ) -> None:
        """Start before the banner.

        `verbs` is the command table. `hooks`: verbs among NOOP, RSET, VRFY, QUIT, EHLO, HELO that
        the outside wants to see. `tls`: the connection is under TLS from the start;
        `tls_possible`: STARTTLS can be offered.
        """
        self.options = options
        self.limits = limits
        self.hooks = hooks
        self.tls = tls
        self.tls_possible = tls_possible
        self.state = _COMMAND
        self.authenticated = False
        self.recognised = False  # by its address; such a client may still log in with a password
        self.failed_logins = 0
        self.errors = 0
        self.junk = 0
        self.messages = 0
        self.commands = 0
        self._verbs = verbs
        self._reader = LineReader(limits)
        self._out: list[bytes] = []
        self._asked: Event | None = None
        self._collector: content.Collector | None = None
        self._respond: Callable[[bytes], Event | None] | None = None
        self._final = b""
        self._penalty = False
        self._forget_greeting()

    # ---- what the session calls ----------------------------------------------------------------

    def greet(self) -> None:
        """Say the banner (RFC 5321 section 4.2)."""
        self.say(f"220 {self.options.hostname} {self.options.ident}".encode("ascii"))

    def feed(self, data: bytes) -> None:
        """Take octets from the client. Then call `next_event` until it gives None."""
        if self.state is _DATA and self._collector is not None:
            self._collector.feed(data)
        elif self.state is not _CLOSED:
            self._reader.feed(data)

    def next_event(self) -> Event | None:
        """Go on with the dialogue; give the next question, or None when more input is needed."""
        while True:
            state = self.state
            event: Event | None = None
            if state is _COMMAND or state is _SASL:
                line = None if self._reader.empty else self._line()
                if line is not None:
                    event = self._command(line) if state is _COMMAND else self._response(line)
                elif self.state is state and not self._penalty:
                    return None
            elif state is _DATA:
                event = self._content()
                if event is None and self.state is _DATA:
                    return None
            else:
                return None
            if event is not None:
                self._asked = event
                self.state = _ASKED
                return event
            if self._penalty:
                self._penalty = False
                self._asked = Penalty(seconds=self.limits.error_delay)
                self.state = _ASKED
                return self._asked

    def answer(self, reply: bytes) -> None:
        """Answer the last event with a reply line; the reply's class decides what follows.

        Raises EngineError if nothing was asked, or if the event has its own answer.
        """
        asked = self._asked
        outcome = OUTCOMES.get(type(asked))
        if outcome is None:
            raise EngineError(f"a reply does not answer {asked!r}")
        self._asked = None
        self.state = _COMMAND
        outcome(self, asked, reply)
        if reply.startswith(b"421"):
            self.close()
        elif self._final and self.between_messages:
            self.close(self._final)

    def tls_started(self) -> None:
        """The handshake is done: everything said before it is forgotten (RFC 3207 section 4.2).

        What came in plain text was dropped when TLS was asked for; from then on until now only
        octets from within TLS may be fed, and they count.
        """
        if not isinstance(self._asked, TlsWanted):
            raise EngineError("TLS was not asked for")
        self._asked = None
        self.state = _COMMAND
        self.tls = True
        self.junk = 0  # the greeting has to be said again
        self._forget_greeting()

    def resume(self) -> None:
        """The penalty is served."""
        if not isinstance(self._asked, Penalty):
            raise EngineError("there is no penalty")
        self._asked = None
        self.state = _COMMAND

    def retire(self, reply: bytes) -> None:
        """Close at the next boundary: at once between transactions, else at the next command."""
        self._final = self._final or reply
        if self.between_messages:
            self.close(reply)

    def close(self, reply: bytes = b"") -> None:
        """Say a last reply, drop all input, take no more."""
        if self.state is _CLOSED:
            return
        if reply:
            self.say(reply)
        self.state = _CLOSED
        self._asked = None
        self._penalty = False
        self.end_transaction()
        self._collector = None
        self._reader.clear()

    def take_output(self) -> bytes:
        """All replies since the last call, for one write; empty if none."""
        out = self._out
        if not out:
            return b""
        self._out = []
        return out[0] + b"\r\n" if len(out) == 1 else b"\r\n".join((*out, b""))

    @property
    def closed(self) -> bool:
        """No further input is taken; the connection ends when the output is written."""
        return self.state is _CLOSED

    @property
    def buffered(self) -> int:
        """Octets held: input not yet read, and content not yet complete."""
        return len(self._reader) + (self._collector.size if self._collector is not None else 0)

    @property
    def between_messages(self) -> bool:
        """Nothing is lost by closing now: no transaction, no question open."""
        return self.state in (_COMMAND, _SASL) and not self.in_transaction

    # ---- what the verbs call -------------------------------------------------------------------

    def say(self, reply: bytes) -> None:
        """Queue a reply."""
        self._out.append(reply)

    def fail(self, reply: bytes) -> None:
        """Queue a reply to an error of the client and charge it to the error budget."""
        self.say(reply)
        self.charge()

    def charge(self) -> None:
        """Charge the error budget; the last of it closes the connection."""
        self.errors += 1
        if self.errors >= self.limits.errors_hard:
            self.close(replies.TOO_MANY_ERRORS)
        elif self.errors >= self.limits.errors_soft and self.limits.error_delay > 0:
            self._penalty = True

    def spend_junk(self) -> bool:
        """Charge a command that moves no mail; False if that closed the connection."""
        self.junk += 1
        if self.junk > self.limits.junk:
            self.close(replies.TOO_MUCH_JUNK)
            return False
        return True

    def begin_transaction(self, *, smtputf8: bool) -> None:
        """MAIL was accepted."""
        self.in_transaction = True
        self.recipients = 0
        self.smtputf8 = smtputf8

    def begin_content(self, reply: bytes) -> None:
        """Say 354, unless the client did not wait for it (RFC 2920 section 3.1)."""
        if len(self._reader):
            self.close(replies.OUT_OF_STEP)
            return
        self.say(reply)
        self.state = _DATA
        self._collector = content.Collector()

    def end_transaction(self) -> None:
        """Forget sender and recipients (RFC 5321 section 4.1.1.5)."""
        self.in_transaction = False
        self.senderless = -1
        self.recipients = 0
        self.smtputf8 = False

    def challenge(self, reply: bytes, respond: Callable[[bytes], Event | None]) -> None:
        """Say 334; the next line goes to `respond` and is no command."""
        self.say(reply)
        self.state = _SASL
        self._respond = respond

    def refuse_recipient(self, reply: bytes) -> None:
        """Refuse a recipient; a customer's long list may hold many bad ones, a stranger's not."""
        if self.authenticated:
            self.say(reply)
        else:
            self.fail(reply)

    def fail_login(self, reply: bytes) -> None:
        """Refuse a login and count it."""
        self.failed_logins += 1
        self.fail(reply)

    def want_tls(self) -> Event:
        """Say 220 and drop what came in plain text after STARTTLS (RFC 3207 section 4)."""
        self.say(replies.START_TLS)
        self._reader.clear()
        self.end_transaction()
        return TlsWanted()

    def _line(self) -> bytes | None:
        """The next good line. None: no line, or a bad one changed the state."""
        reader, state = self._reader, self.state
        line = reader.whole
        if line is not None:
            reader.whole, reader.empty = None, True
            self.commands += 1
            return line
        while True:
            line = reader.next(extended=self.extended, dialogue=state is _SASL)
            if line is not None:
                self.commands += 1
                return line
            fault = reader.fault
            if fault is None:
                return None
            self.commands += 1
            if reader.fatal:
                self.close(fault)
                return None
            self.state = _COMMAND
            if fault is replies.AUTH_FAILED:
                self.fail_login(fault)
            else:
                self.fail(fault)
            if self.state is not state or self._penalty:
                return None

    def _command(self, line: bytes) -> Event | None:
        if self._final:
            self.close(self._final)
            return None
        word, _, argument = line.partition(b" ")
        verb = self._verbs.get(word) or self._verbs.get(word.upper())
        if verb is not None:
            return verb(self, argument)
        if is_foreign(line):
            self.close(replies.NOT_SMTP)
        else:
            self.fail(replies.UNKNOWN_COMMAND)
        return None

    def _response(self, line: bytes) -> Event | None:
        """A line of the AUTH dialogue."""
        respond, self._respond = self._respond, None
        if respond is None:
            raise EngineError("a response without a dialogue")
        self.state = _COMMAND
        return respond(line)

    def _content(self) -> Event | None:
        collector = self._collector
        if collector is None:
            raise EngineError("no content is being read")
        if (taken := collector.take()) is None:
            if collector.size > self.limits.message + self.limits.message_slack:
                self.close(replies.MESSAGE_TOO_LARGE)
            return None
        self._collector = None
        self.state = _COMMAND
        self.commands += 1
        message, rest = taken
        if rest:
            self._reader.feed(rest)
        repairs = self.options.normalize_line_ends
        if repairs and (self.authenticated or not self.options.auth_required):
            message = lines.normalize(message)
        reply = content.refusal(message, self.limits, self.options)
        if reply is None:
            return MessageGiven(content=message)
        self.end_transaction()
        self.fail(reply)
        return None

    def _forget_greeting(self) -> None:
        self.helo = ""
        self.extended = False
        self.authenticated = self.recognised = False
        self.end_transaction()

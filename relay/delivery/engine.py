"""The client side of an SMTP session without any I/O: bytes in, bytes out, finished transactions.

Guarantees
- Commands go out in one group where PIPELINING is offered (RFC 2920), and the envelope of the next
  mail may travel together with the content of the one before; content never before its 354.
- Every reply is matched with exactly one command. More replies than commands, or a code that cannot
  answer its command, means the dialogue is out of step: the session ends, and whoever waited gets
  no verdict from a reply that may not have been meant for it (smtp-security section 7).
- What was said before TLS is forgotten after it, replies already received included (RFC 3207
  section 4.2).
- A transaction is ambiguous only if its final dot was given to the transport and no reply to it
  came.

Leaves to others: sockets, time limits (`connection.py`), what a failure means (`verdict.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from relay.delivery.commands import (
    UnsendableError,
    check_content,
    lacking,
    mail_command,
    rcpt_command,
)
from relay.delivery.hello import Hello, Step, read_extensions, read_mail_limit
from relay.delivery.outgoing import Outgoing, Problem, Stage
from relay.delivery.phases import Phase
from relay.delivery.replies import RawReply, ReplyError, ReplyReader
from relay.delivery.transaction import Failure, Transaction
from relay.delivery.transcript import Transcript

# Members of an enumeration are looked up slowly; these names are read for each reply.
_READY = Phase.READY
_MAIL, _RCPT, _DATA, _DOT = Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.DOT
_MAX_OPEN = 2  # the mail whose content is on its way, and the next one's envelope


class Engine:
    """One session. After every call take `out` (bytes to write) and `finished` (transactions that
    are over).
    """

    def __init__(self, hello: Hello) -> None:
        """Prepare a session that introduces, secures and logs itself in as `hello` says."""
        self.phase = Phase.HELLO
        self.extensions: dict[bytes, bytes] = {}
        self.size_limit = 0  # octets; 0: none stated
        self.mail_limit = 0  # mails in this session; 0: none stated
        self.failure: Failure | None = None
        self.out: list[bytes] = []
        self.unsent: Transaction | None = None  # its content is in `out`, nobody has written it yet
        self.unsent_end = 0  # how many pieces of `out` there are up to that content
        self.finished: list[Transaction] = []
        self.log = Transcript()
        self.sent = 0  # transactions begun
        self.taken = 0  # mails that the server took
        self.heard = 0  # replies read
        self._hello = hello
        self._reader = ReplyReader()
        self._awaited: deque[tuple[Stage, Transaction | None]] = deque()
        self._open: deque[Transaction] = deque()
        self._held: Transaction | None = None
        self._pipelining = False
        self._needs_reset = False
        self._now = 0.0

    # -- what the connection asks ------------------------------------------------------------

    @property
    def awaited(self) -> Stage | None:
        """Give the stage whose reply is awaited next, None when it is our turn."""
        if self._awaited:
            return self._awaited[0][0]
        return self._hello.stage if self.phase is Phase.HELLO else None

    @property
    def has_room(self) -> bool:
        """Tell whether `begin` may be called now."""
        if self.phase is not _READY:
            return False
        return not self._open or (self._pipelining and len(self._open) < _MAX_OPEN)

    @property
    def is_idle(self) -> bool:
        """Tell whether the session is ready and nothing is on its way."""
        return self.phase is Phase.READY and not self._open and not self._awaited

    # -- what happens ------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Take bytes from the server; `now` is monotonic seconds."""
        self._now = now
        try:
            self._receive(data)
        except ReplyError as error:
            self.fail(Problem.PROTOCOL, str(error))

    def begin(self, mail: Outgoing, done: Callable[[Transaction], None], now: float) -> Transaction:
        """Start a transaction; needs `has_room`. What cannot be sent here is finished at once."""
        if not self.has_room:
            raise RuntimeError("begin was called while the session has no room for a transaction")
        self._now = now
        transaction = Transaction(mail=mail, done=done, log=Transcript(self.log), began=now)
        lacks = lacking(
            mail, self.extensions, self.size_limit, strict_eightbit=self._hello.strict_eightbit
        )
        if lacks is not None:
            self._reject(transaction, Problem.CAPABILITY, *lacks)
            return transaction
        try:
            transaction.content = check_content(mail.content, clean=mail.clean)
            transaction.mail_line = mail_command(mail, self.extensions)
            transaction.rcpt_line = rcpt_command(mail, self.extensions)
        except UnsendableError as error:
            self._reject(transaction, Problem.LOCAL, error.enhanced, str(error))
            return transaction
        self.sent += 1
        transaction.log.steps.append((now, ">", transaction.mail_line + transaction.rcpt_line))
        self._open.append(transaction)
        if len(self._open) == 1 or self._open[0].dot_written:
            self._launch(transaction)
        else:
            self._held = transaction
        return transaction

    def quit(self) -> None:
        """Say QUIT; nothing is sent afterwards, replies are not waited for."""
        if self._open:
            self.fail(Problem.LOST, "the session was ended here")
        elif self.phase is not Phase.ENDED:
            self.out.append(b"QUIT\r\n")
            self._end()

    def secured(self, version: str, now: float) -> None:
        """Go on after the TLS handshake: what was said before is forgotten, EHLO said again."""
        self._now = now
        self._reader.forget()
        self.extensions = {}
        self.log.note(now, f"TLS established, {version}")
        self.phase = Phase.HELLO
        self._say(self._hello.secured())

    def fail(self, problem: Problem, error: str, reply: RawReply | None = None) -> None:
        """End the session: connection lost, time over, handshake failed, out of step."""
        if self.phase is Phase.ENDED:
            return
        stage = self.awaited or (Stage.TLS if self.phase is Phase.HANDSHAKE else Stage.MAIL)
        current = self._awaited[0][1] if self._awaited else None
        self.failure = Failure(stage, problem, error, reply)
        if self.unsent is not None:
            self.unsent.dot_written = False
            self.unsent = None
        self.out.clear()
        self.log.note(self._now, error)
        for transaction in list(self._open):
            transaction.log.note(self._now, error)
            transaction.break_off(self.failure, asked=transaction is current)
            self._held = None
            self._finish(transaction)
        self._end()

    # -- replies -----------------------------------------------------------------------------

    def _receive(self, data: bytes) -> None:
        if self.phase is not _READY:
            self._receive_hello(data)
            return
        awaited = self._awaited
        expected = len(awaited)
        for reply in self._reader.feed(data):
            if expected == 0:
                self._unasked(reply)
                return
            expected -= 1
            self.heard += 1
            stage, transaction = awaited[0]
            if transaction is None:
                self._reset_answered(reply)
            else:
                self._answered(stage, transaction, reply)
            if self.failure is not None:
                return

    def _answered(self, stage: Stage, transaction: Transaction, reply: RawReply) -> None:
        transaction.log.steps.append((self._now, "<", reply.raw))
        code = reply.code
        if code == 421:  # going away, whatever was asked (RFC 5321 section 3.8)
            self.fail(Problem.REFUSED, "", reply)
            return
        if code < 400 and code // 100 != (3 if stage is _DATA else 2):
            raise ReplyError(f"the server answered {stage.name} with {code}, no answer to it")
        self._awaited.popleft()
        transaction.touched = True
        if stage is _DOT:
            self._dot_answered(transaction, reply)
        elif stage is _DATA:
            self._data_answered(transaction, reply)
        elif code >= 400 or not self._pipelining:
            self._envelope_answered(stage, transaction, reply)

    def _receive_hello(self, data: bytes) -> None:
        if self.phase is Phase.ENDED:
            return
        if self.phase is Phase.HANDSHAKE:
            raise ReplyError("the server spoke in the clear after it agreed to start TLS")
        replies = self._reader.feed(data)
        if len(replies) > 1:
            raise ReplyError("the server answered commands that it was not given yet")
        for reply in replies:
            self.heard += 1
            self.log.add(self._now, "<", reply.raw)
            self._say(self._hello.answer(reply))

    def _reset_answered(self, reply: RawReply) -> None:
        self.log.add(self._now, "<", reply.raw)
        if reply.code == 421:
            self.fail(Problem.REFUSED, "", reply)
        elif reply.code // 100 != 2:
            raise ReplyError(f"the server answered RSET with {reply.code}")
        else:
            self._awaited.popleft()
            if not self._pipelining:
                self._launch_held()

    def _envelope_answered(self, stage: Stage, transaction: Transaction, reply: RawReply) -> None:
        if reply.code >= 400 and transaction.problem is None:
            transaction.problem = Problem.REFUSED
            transaction.stage = stage
            transaction.reply = reply
        if self._pipelining:
            return
        if transaction.problem is not None:
            self._needs_reset = stage is Stage.RCPT
            self._finish(transaction)
        elif stage is Stage.MAIL:
            self.out.append(transaction.rcpt_line)
            self._awaited.append((Stage.RCPT, transaction))
        else:
            self.out.append(b"DATA\r\n")
            self._awaited.append((Stage.DATA, transaction))

    def _data_answered(self, transaction: Transaction, reply: RawReply) -> None:
        if reply.code < 400:
            if transaction.problem is None:
                self.out.append(transaction.content)
                self.unsent, self.unsent_end = transaction, len(self.out)
                transaction.dot_written = True
                size = b"%d octets of content and the final dot" % len(transaction.content)
                transaction.log.steps.append((self._now, "*", size))
            else:  # no valid recipient, yet 354: RFC 2920 section 3.1 asks for a lone dot
                self.out.append(b".\r\n")
            transaction.content = b""
            self._awaited.append((_DOT, transaction))
            if self._held is not None and transaction.dot_written:
                self._launch_held()
            return
        if transaction.problem is None:
            transaction.problem = Problem.REFUSED
            transaction.stage = _DATA
            transaction.reply = reply
        self._needs_reset = True
        self._finish(transaction)

    def _dot_answered(self, transaction: Transaction, reply: RawReply) -> None:
        if transaction.problem is None:
            transaction.stage = _DOT
            transaction.reply = reply
            if reply.code >= 400:
                transaction.problem = Problem.REFUSED
            else:
                self.taken += 1
        transaction.dot_written = False
        self._finish(transaction)

    def _unasked(self, reply: RawReply) -> None:
        self.log.add(self._now, "<", reply.raw)
        if reply.code == 421 and not self._open:  # closes an idle connection: nobody's failure
            self.fail(Problem.REFUSED, "", reply)
            return
        raise ReplyError("the server sent a reply to no command")

    # -- commands ----------------------------------------------------------------------------

    def _say(self, step: Step) -> None:
        """Do what the hello part of the dialogue wants next."""
        if step.failure is not None:
            problem, error, reply = step.failure
            self.fail(problem, error, reply)
            return
        if step.command:
            self.out.append(step.command)
            self.log.add(self._now, ">", step.shown or step.command)
        if step.handshake:
            if not self._reader.is_empty:
                raise ReplyError("the server sent more than its answer to STARTTLS")
            self.phase = Phase.HANDSHAKE
        if step.ready:
            self.extensions, self.size_limit = read_extensions(self._hello.offered)
            self.mail_limit = read_mail_limit(self.extensions)
            self._pipelining = b"PIPELINING" in self.extensions
            self.phase = Phase.READY

    def _launch(self, transaction: Transaction) -> None:
        if self._needs_reset:
            self._needs_reset = False
            self.out.append(b"RSET\r\n")
            self._awaited.append((_MAIL, None))
            if not self._pipelining:  # then MAIL waits for the reply
                self._held = transaction
                return
        if self._pipelining:
            self.out.append(b"%b%bDATA\r\n" % (transaction.mail_line, transaction.rcpt_line))
            self._awaited += ((_MAIL, transaction), (_RCPT, transaction), (_DATA, transaction))
        else:
            self.out.append(transaction.mail_line)
            self._awaited.append((_MAIL, transaction))

    def _launch_held(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._launch(held)

    def _reject(self, transaction: Transaction, problem: Problem, code: str, text: str) -> None:
        transaction.problem, transaction.ended = problem, self._now
        transaction.enhanced = code
        transaction.error = text
        transaction.log.note(self._now, text)
        self.finished.append(transaction)

    def _finish(self, transaction: Transaction) -> None:
        transaction.ended = self._now
        self._open.remove(transaction)
        self.finished.append(transaction)
        if self._held is not None and self._held is not transaction:
            self._launch_held()
        elif self._held is transaction:
            self._held = None

    def _end(self) -> None:
        self.phase = Phase.ENDED
        self._awaited.clear()
        self._open.clear()
        self._held = None

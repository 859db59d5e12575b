"""What goes into a delivery attempt and what comes out of it.

Values only. An `Outgoing` is complete: return path, recipient, content with CRLF line ends, signed.
An `Outcome` tells everything that dispatch, the event and the person who must explain a failure
need; nothing of it is an exception.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Protocol

import msgspec

from relay.mail.reply import Reply

if TYPE_CHECKING:
    from relay.delivery.transcript import Transcript


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery as it goes on the wire: one sender, one recipient, one content.

    `return_path` is an address without brackets, b"" the null sender. `content` is the whole
    message with CRLF line ends, dots not stuffed; `clean` says that its maker knows it has no other
    line end and no line that begins with a dot, which spares a look. `utf8` asks for SMTPUTF8
    (RFC 6531), `eightbit` for 8BITMIME (RFC 6152). The DSN parameters (RFC 3461) are sent where the
    next hop offers DSN: `envid` and `orcpt` as xtext, `ret` FULL or HDRS, `notify` as NEVER or a
    list of SUCCESS, FAILURE, DELAY.
    """

    delivery: int
    return_path: bytes
    recipient: bytes
    content: bytes
    utf8: bool = False
    eightbit: bool = False
    envid: bytes = b""
    ret: str = ""
    notify: str = ""
    orcpt: bytes = b""
    clean: bool = False


class Stage(IntEnum):
    """How far an attempt came; the order is the order on the wire."""

    DNS = 0
    CONNECT = 1
    GREETING = 2
    EHLO = 3
    STARTTLS = 4
    TLS = 5
    AUTH = 6
    MAIL = 7
    RCPT = 8
    DATA = 9
    DOT = 10

    @property
    def word(self) -> str:
        """Give the stage as the classifier names it."""
        return _WORDS.get(self, self.name.lower())


_WORDS = {Stage.GREETING: "banner", Stage.STARTTLS: "tls"}


class Problem(StrEnum):
    """What kind of thing went wrong, apart from an SMTP refusal."""

    REFUSED = "refused"  # an SMTP reply said no
    UNREACHABLE = "unreachable"  # no connection: refused, no route, timed out
    LOST = "lost"  # the connection ended before the reply
    TIMEOUT = "timeout"  # no reply in time
    PROTOCOL = "protocol"  # the reply cannot be read, or is out of step
    TLS = "tls"  # the handshake failed, or the certificate is not the one asked for
    LOGIN = "login"  # the smarthost does not take our AUTH
    CAPABILITY = "capability"  # the next hop lacks an extension that this message needs
    DNS = "dns"  # the destination has no usable hosts
    LOCAL = "local"  # the message cannot go on the wire; nothing was sent


class Verdict(StrEnum):
    """What an attempt means for its delivery."""

    DELIVERED = "delivered"
    RETRY = "retry"
    NEXT_HOST = "next-host"  # only between hosts of one attempt; an `Outcome` never carries it
    BOUNCED = "bounced"


class Judgement(Protocol):
    """What the classifier of `bounces` says about a reply; `bounces.judgement.Judgement` fits."""

    @property
    def category(self) -> str:
        """Say "hard", "soft" or "ignored"."""
        ...

    @property
    def reason(self) -> str:
        """Give the reason, such as "userunknown"."""
        ...

    @property
    def delivery(self) -> str:
        """Say "retry", "next-host" or "give-up"."""
        ...

    @property
    def recipient(self) -> str:
        """Say "suppress" or "keep"."""
        ...

    @property
    def destination(self) -> str:
        """Say "ok", "slow-down" or "stop"."""
        ...


class Classify(Protocol):
    """The classifier's door: `bounces.classify.classify` fits."""

    def __call__(
        self, code: int, enhanced: str, text: str, /, *, stage: str = "", provider: str = ""
    ) -> Judgement:
        """Judge one reply."""
        ...


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one attempt.

    `reply` is what the remote said last about this delivery, None where it said nothing; then
    `problem`, `enhanced` (RFC 3463) and `error` say what was wrong. `ambiguous`: the final dot was
    sent and no reply came, so the next hop may have the message. `new_connection`: this attempt had
    to connect first.
    """

    delivery: int
    verdict: Verdict
    stage: Stage
    reply: Reply | None = None
    problem: Problem | None = None
    enhanced: str = ""
    error: str = ""
    host: str = ""
    address: str = ""
    provider: str = ""
    tls: str = ""  # protocol version such as "TLSv1.3"; "" in the clear
    ambiguous: bool = False
    took_ms: int = 0
    judgement: Judgement | None = None
    log: Transcript | None = None
    confirms: bool = False  # the next hop took NOTIFY over: confirmations are its part (RFC 3461)

    @property
    def hosts_fault(self) -> bool:
        """Tell whether the attempt failed before its message was looked at: the whole destination
        suffers.
        """
        if self.verdict is Verdict.DELIVERED or self.problem in (
            Problem.CAPABILITY,
            Problem.LOCAL,
        ):
            return False
        return self.reply is None or self.reply.code == 421 or self.stage < Stage.MAIL

    @property
    def destination(self) -> str:
        """Say what the destination deserves now: "ok", "slow-down" or "stop"."""
        if self.verdict is Verdict.DELIVERED:
            return "ok"
        if self.judgement is not None and self.judgement.destination != "ok":
            return self.judgement.destination
        return "slow-down" if self.hosts_fault else "ok"

    @property
    def code(self) -> int:
        """Give the reply code, 0 where no reply was read."""
        return self.reply.code if self.reply else 0

    @property
    def text(self) -> str:
        """Give one line that says what happened: the reply, or what was wrong in its place."""
        if self.reply is not None:
            return str(self.reply)
        return " ".join(part for part in (self.enhanced, self.error) if part)

    @property
    def transcript(self) -> str:
        """Give the conversation, one line per step; secrets masked, bounded. Built when asked."""
        return str(self.log) if self.log is not None else ""

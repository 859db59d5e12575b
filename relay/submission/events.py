"""What the engine asks of the world outside. Each event stops the engine until it is answered.

Values only. They hold what the client said, checked; nothing here is trusted beyond its grammar.
"""

import msgspec

from relay.mail.addresses import Mailbox


class RecipientPath(msgspec.Struct, frozen=True, kw_only=True):
    """One recipient of the envelope with its DSN wishes (RFC 3461 sections 4.1 and 4.2)."""

    mailbox: Mailbox
    notify: str = ""
    """`NEVER`, or a list such as `SUCCESS,FAILURE` in upper case; empty if not given."""
    orcpt: bytes = b""
    """As typed, `rfc822;a+40b@c.example`; empty if not given."""


class SenderParameters(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of MAIL."""

    size: int = 0
    """Declared octets (RFC 1870), 0 if not declared."""
    eightbit: bool = False
    """BODY=8BITMIME was given (RFC 6152)."""
    smtputf8: bool = False
    ret: str = ""
    """`FULL`, `HDRS` or empty (RFC 3461 section 4.3)."""
    envid: bytes = b""
    """xtext as typed (RFC 3461 section 4.4), empty if not given."""
    auth: bytes = b""
    """AUTH= as typed (RFC 4954 section 5); never trusted, kept for the log."""


class HelloGiven(msgspec.Struct, frozen=True, kw_only=True):
    """EHLO or HELO with a name that has the form of one."""

    name: str
    extended: bool
    lines: tuple[bytes, ...]
    """What the reply will say, without codes."""


class LoginTried(msgspec.Struct, frozen=True, kw_only=True):
    """AUTH with complete credentials."""

    mechanism: str
    login: bytes
    password: bytes

    def __repr__(self) -> str:
        return f"LoginTried(mechanism={self.mechanism!r}, login={self.login!r}, password=...)"


class TlsWanted(msgspec.Struct, frozen=True, kw_only=True):
    """STARTTLS: 220 is said, everything the client sent in plain text is forgotten."""


class SenderGiven(msgspec.Struct, frozen=True, kw_only=True):
    """MAIL. `sender` is None for the null sender; `typed` are the parameters as typed."""

    sender: Mailbox | None
    parameters: SenderParameters
    typed: bytes


class RecipientGiven(msgspec.Struct, frozen=True, kw_only=True):
    """RCPT. `typed` are the parameters as typed."""

    recipient: RecipientPath
    typed: bytes


class ContentWanted(msgspec.Struct, frozen=True, kw_only=True):
    """DATA with sender and recipients: whether there is room for it."""


class MessageGiven(msgspec.Struct, frozen=True, kw_only=True):
    """The end of DATA. `content`: CRLF lines, dots unstuffed, within all limits."""

    content: bytes


class CommandGiven(msgspec.Struct, frozen=True, kw_only=True):
    """NOOP, RSET, VRFY or QUIT, for those who asked to see them; `reply` is the usual answer."""

    verb: str
    argument: str
    reply: bytes


class Penalty(msgspec.Struct, frozen=True, kw_only=True):
    """The client makes errors: let `seconds` pass before going on."""

    seconds: float


Event = (
    HelloGiven
    | LoginTried
    | TlsWanted
    | SenderGiven
    | RecipientGiven
    | ContentWanted
    | MessageGiven
    | CommandGiven
    | Penalty
)

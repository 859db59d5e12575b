"""What one SMTP door offers and how much it bears. The composition root fills these values.

The defaults are those of a submission service (RFC 6409); an inbound door turns AUTH off. Sizes are
octets, times are seconds.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """What the door offers. Sessions share one value; it never changes while they live."""

    hostname: str
    """Names this server in the banner and in the EHLO reply; ASCII."""
    ident: str = "ESMTP"
    auth_offered: bool = True
    """AUTH PLAIN and LOGIN are announced and taken."""
    auth_required: bool = True
    """MAIL without a login is answered 530; nobody can relay through an open door."""
    auth_needs_tls: bool = True
    """Passwords are taken under TLS only (RFC 8314)."""
    starttls_required: bool = False
    """Everything but EHLO, NOOP, STARTTLS and QUIT is answered 530 before TLS."""
    smtputf8: bool = True
    dsn: bool = True
    address_literals: bool = False
    normalize_line_ends: bool = False
    """Make CRLF of bare CR and LF in content: for clients that logged in, before anything is
    signed, and at doors without a login whose mail is read and never relayed."""
    nul_in_body: bool = False
    count_refusals: bool = False
    """Recipients that the handler refuses use up the error budget: for doors without a login."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """How much a connection may take; beyond each there is a fixed reply."""

    command: int = 512
    """A command line with its CRLF (RFC 5321 section 4.5.3.1.4) ..."""
    command_extended: int = 1022
    """... for MAIL and RCPT after EHLO, whose parameters need room (RFC 6531, RFC 3461)."""
    auth_line: int = 12_288
    """A line of an AUTH dialogue (RFC 4954 section 4)."""
    discard: int = 2 * 1024 * 1024
    """An overlong line is thrown away up to here, then the connection is cut."""
    line: int = 998
    """A line of content without its CRLF; at most 65,536 where long lines are allowed."""
    message: int = 26_214_400
    message_slack: int = 65_536
    """Content beyond `message` is read up to this much further, then the connection is cut."""
    header_block: int = 262_144
    header_fields: int = 2000
    header_field: int = 102_400
    received: int = 100
    """Received fields; one more is a loop (RFC 5321 section 6.3)."""
    local_part: int = 64
    recipients: int = 1000
    messages: int = 1000
    """Messages on one connection."""
    errors_soft: int = 10
    """From this error on, each costs `error_delay` seconds."""
    errors_hard: int = 20
    """With this error the connection is closed."""
    error_delay: float = 1.0
    junk: int = 100
    """NOOP, RSET, VRFY, HELP and the like without mail between them."""
    auth_failures: int = 3
    idle: float = 300.0
    """Between two complete commands."""
    age: float = 3600.0
    """Of the whole connection; a message that is coming in then gets `last_data` more."""
    last_data: float = 60.0
    data_rate: int = 500
    """Octets per second that content must reach ..."""
    data_window: float = 60.0
    """... over each such span."""
    linger: float = 5.0
    """How long a closed connection may take to read its last reply."""
    write_buffer: int = 16_384
    """Replies the client has not read; beyond, its commands wait."""
    read_ahead: int = 65_536
    """Input kept while an answer is awaited; beyond, the socket waits."""

    def stressed(self) -> "SessionLimits":
        """The same under stress: strangers get little patience."""
        return replace(self, errors_hard=1, errors_soft=1, junk=1, idle=min(self.idle, 10.0))

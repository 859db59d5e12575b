"""The fixed replies, and the one check that every other reply passes.

All replies are ASCII bytes without the last CRLF. Each 2xx, 4xx and 5xx carries an enhanced code
(RFC 2034, RFC 3463) except the banner and the replies to HELO and EHLO. No text from the client
and no text of an exception is ever part of a reply.
"""

import re

OK = b"250 2.0.0 OK"
RESET = b"250 2.0.0 Forgotten"
SENDER_OK = b"250 2.1.0 Sender taken"
RECIPIENT_OK = b"250 2.1.5 Recipient taken"
MESSAGE_OK = b"250 2.0.0 Message taken"
BYE = b"221 2.0.0 Bye"
START_CONTENT = b"354 End the message with <CR><LF>.<CR><LF>"
START_TLS = b"220 2.0.0 Ready to start TLS"
HELP = b"214 2.0.0 EHLO HELO AUTH MAIL RCPT DATA RSET NOOP VRFY STARTTLS QUIT"
CANNOT_VERIFY = b"252 2.0.0 Send some mail, it will be tried"
AUTH_OK = b"235 2.7.0 Authentication succeeded"

LOCAL_ERROR = b"451 4.3.0 Local error, try again later"
NO_SPACE = b"452 4.3.1 Not enough room for mail now, try again later"
TOO_MANY_RECIPIENTS = b"452 4.5.3 Too many recipients; send the message again for the others"
AUTH_UNAVAILABLE = b"454 4.7.0 Authentication is not possible now, try again later"
AUTH_LATER = b"454 4.7.0 Too many failed logins, try again later"

CLOSING = b"421 4.3.2 Service shutting down, connect again"
NO_SPACE_LEFT = b"421 4.3.1 Not enough room for mail now, try again later"
TOO_BUSY = b"421 4.3.2 Too many connections, try again later"
OVERLOADED = b"421 4.3.2 More connections come than can be served, try again later"
TOO_MANY_CONNECTIONS = b"421 4.7.0 Too many connections from your address"
TOO_MANY_ERRORS = b"421 4.7.0 Too many errors"
TOO_MUCH_JUNK = b"421 4.7.0 Too many commands without mail"
TOO_MANY_MESSAGES = b"421 4.7.0 Enough messages on this connection, connect again"
TOO_MANY_FAILED_LOGINS = b"421 4.7.0 Too many failed logins"
NOT_SMTP = b"421 4.7.0 This is an SMTP service"
IDLE = b"421 4.4.2 Waited too long for a command"
TOO_SLOW = b"421 4.4.2 The message came in too slowly; nothing of it was kept"
TOO_OLD = b"421 4.4.2 The connection lasted too long, connect again"

BARE_LINE_END = b"500 5.5.2 A line must end with CRLF; bare CR or LF found"
LINE_TOO_LONG = b"500 5.5.2 Command line too long"
NOT_A_COMMAND = b"500 5.5.2 Not an SMTP command"
UNKNOWN_COMMAND = b"500 5.5.1 Unknown command"
PATH_TOO_LONG = b"501 5.1.3 The address is too long"
NO_ARGUMENT = b"501 5.5.4 This command takes no argument"
BAD_ARGUMENT = b"501 5.5.4 Only printable ASCII may follow this command"
BAD_HELO = b"501 5.5.4 Give a domain name or an address literal"
BAD_MAIL = b"501 5.5.4 Syntax: MAIL FROM:<address> [parameters]"
BAD_RCPT = b"501 5.5.4 Syntax: RCPT TO:<address> [parameters]"
BAD_AUTH = b"501 5.5.4 Syntax: AUTH mechanism [initial-response]"
BAD_VRFY = b"501 5.5.4 Syntax: VRFY address"
NOT_BASE64 = b"501 5.5.2 The response is not valid base64"
AUTH_CANCELLED = b"501 5.7.0 Authentication cancelled"
NOT_OFFERED = b"502 5.5.1 Not offered here"
HELO_FIRST = b"503 5.5.1 Send EHLO first"
MAIL_FIRST = b"503 5.5.1 Send MAIL first"
RCPT_FIRST = b"503 5.5.1 Send RCPT first"
MAIL_TWICE = b"503 5.5.1 A sender is already given; RSET forgets it"
AUTH_TWICE = b"503 5.5.1 Already logged in"
AUTH_IN_TRANSACTION = b"503 5.5.1 AUTH is not allowed between MAIL and the end of the message"
TLS_TWICE = b"503 5.5.1 TLS is already active"
UNKNOWN_MECHANISM = b"504 5.5.4 Unknown mechanism; PLAIN and LOGIN are offered"
TLS_REQUIRED = b"530 5.7.0 Send STARTTLS first"
AUTH_REQUIRED = b"530 5.7.0 Authentication required"
LOGIN_REVOKED = b"530 5.7.0 Authentication required: this login is no longer valid"
AUTH_FAILED = b"535 5.7.8 Wrong user name or password"
AUTH_NEEDS_TLS = b"538 5.7.11 Passwords are taken under TLS only; send STARTTLS first"
CONTENT_BARE_LINE_END = b"550 5.5.2 Bare CR or LF in the message; every line must end with CRLF"
NUL_IN_CONTENT = b"550 5.6.0 NUL byte in the message"
CONTENT_LINE_TOO_LONG = b"500 5.5.2 A line of the message is too long"
HEADER_TOO_LARGE = b"552 5.3.4 The header of the message is too large"
MESSAGE_TOO_LARGE = b"552 5.3.4 The message is larger than this server takes"
LOOP = b"554 5.4.6 Too many Received fields: the message runs in a loop"
OUT_OF_STEP = b"554 5.5.0 Input came before the reply it had to wait for"
TLS_REFUSED = b"554 5.7.0 This TLS connection is not accepted"
PARAMETERS_NEED_EHLO = b"555 5.5.4 Parameters are allowed only after EHLO"

LIMITS = {
    "command-line": LINE_TOO_LONG,
    "content-line": CONTENT_LINE_TOO_LONG,
    "message-size": MESSAGE_TOO_LARGE,
    "header-size": HEADER_TOO_LARGE,
    "recipients": TOO_MANY_RECIPIENTS,
    "messages": TOO_MANY_MESSAGES,
    "errors": TOO_MANY_ERRORS,
    "junk-commands": TOO_MUCH_JUNK,
    "failed-logins": TOO_MANY_FAILED_LOGINS,
    "failed-logins-account": AUTH_LATER,
    "idle": IDLE,
    "data-rate": TOO_SLOW,
    "session-age": TOO_OLD,
    "connections-address": TOO_MANY_CONNECTIONS,
    "connections": TOO_BUSY,
    "load": OVERLOADED,
    "content-in-flight": NO_SPACE_LEFT,
    "received-fields": LOOP,
    "room": b"452 4.3.1 ",  # disk reserve, outbox, content in flight before DATA
}
"""The limits that a client can meet, by the name that metrics give them, with the reply (or how it
begins).
"""

_LINE_LIMIT = 510  # with CRLF 512, RFC 5321 section 4.5.3.1.5
_ONE_LINE = re.compile(rb"[2-5][0-9]{2} [ -~]{0,506}")
_LINES = re.compile(
    rb"([2-5][0-9]{2})-[ -~]{0,506}(?:\r\n\1-[ -~]{0,506}){0,99}\r\n\1 [ -~]{0,506}"
)
_ENHANCED = re.compile(rb"[2-5][0-9]{2}[ -][245]\.[0-9]{1,3}\.[0-9]{1,3}(?:[ \r]|$)")
_HAS_ENHANCED = frozenset(b"245")


def limits_in(output: bytes) -> list[str]:
    """Name the limits that replies about to be written tell of; once each."""
    return [name for name, reply in LIMITS.items() if reply in output]


def checked(reply: object, *, enhanced: bool = True) -> bytes:
    """Make a reply that a handler gave fit for the wire.

    A text that is no reply (wrong form, line ends inside, not text at all) becomes LOCAL_ERROR:
    what the client would read into it cannot be known. A missing enhanced code is added, unless
    `enhanced` is False (replies to HELO and EHLO).
    """
    if isinstance(reply, str):
        reply = reply.encode("ascii", "replace")
    if not isinstance(reply, bytes):
        return LOCAL_ERROR
    if len(reply) == 3 and reply.isdigit():
        reply += b" "
    if not _ONE_LINE.fullmatch(reply):
        return reply if _LINES.fullmatch(reply) else LOCAL_ERROR
    if enhanced and reply[0] in _HAS_ENHANCED and not _ENHANCED.match(reply):
        head, text = reply[:3], reply[4:]
        reply = (head + b" %c.0.0 " % head[0] + text)[:_LINE_LIMIT].rstrip()
    return reply

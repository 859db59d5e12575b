"""The AUTH dialogue: PLAIN (RFC 4616) and LOGIN, as steps without any I/O (RFC 4954 section 4).

A step gives the next challenge, complete credentials, or a refusal. Who they belong to is decided
elsewhere. An authorisation identity other than the login itself is a failed login, never ignored.
"""

import re
from base64 import b64encode
from binascii import a2b_base64

from relay.submission import replies
from relay.submission.events import LoginTried

MECHANISMS = (b"PLAIN", b"LOGIN")
LOGIN_LIMIT = 255
# The library's strict mode differs between Python versions; this is RFC 4648 section 3.
_BASE64 = re.compile(rb"(?>(?:[A-Za-z0-9+/]{4})*)(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")

Step = bytes | LoginTried
"""A whole reply line (334, 501 or 535), or credentials to check."""


class Dialogue:
    """One AUTH command from its mechanism to its credentials."""

    __slots__ = ("_login", "_mechanism")

    def __init__(self, mechanism: bytes) -> None:
        """`mechanism` is one of MECHANISMS."""
        self._mechanism = mechanism
        self._login: bytes | None = None

    def start(self, initial: bytes | None) -> Step:
        """Begin, with the client's initial response (base64, `=` for an empty one) or without."""
        if initial is not None:
            return self.respond(b"" if initial == b"=" else initial)
        return b"334 " if self._mechanism == b"PLAIN" else _challenge(b"Username:")

    def respond(self, line: bytes) -> Step:
        """Go on with a line of the client, without its CRLF."""
        if line == b"*":
            return replies.AUTH_CANCELLED
        if not _BASE64.fullmatch(line):
            return replies.NOT_BASE64
        response = a2b_base64(line)
        if self._mechanism == b"PLAIN":
            return self._plain(response)
        if self._login is None:
            self._login = response
            return _challenge(b"Password:")
        return _credentials("LOGIN", self._login, response)

    def _plain(self, response: bytes) -> Step:
        parts = response.split(b"\0")
        if len(parts) != 3:
            return replies.NOT_BASE64
        authorize, login, password = parts
        if authorize not in (b"", login):
            return replies.AUTH_FAILED
        return _credentials("PLAIN", login, password)


def _challenge(text: bytes) -> bytes:
    return b"334 " + b64encode(text)


def _credentials(mechanism: str, login: bytes, password: bytes) -> Step:
    # A login with control bytes belongs to nobody and would only reach logs and queries.
    if not login or len(login) > LOGIN_LIMIT or _CONTROL.search(login):
        return replies.AUTH_FAILED
    return LoginTried(mechanism=mechanism, login=login, password=password)

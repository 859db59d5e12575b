"""aiosmtpd's Session and Envelope, with what Waypost knows beyond them.

Handlers written for aiosmtpd find every attribute they know; Waypost's own read the checked values
(`sender`, `recipients`, `login`, `tls` and so on) and never the texts.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from aiosmtpd.smtp import Envelope, Session

from relay.mail.addresses import Mailbox
from relay.submission.events import RecipientPath


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsInfo:
    """What protects a connection: `TLSv1.3`, `TLS_AES_256_GCM_SHA384`."""

    version: str
    cipher: str


class MailEnvelope(Envelope):
    """Sender, recipients and content of one message.

    `sender`: None for the null sender (and before MAIL). `recipients`: in the order given.
    `content`: bytes with CRLF line ends, dots unstuffed. `ret`, `envid`: RFC 3461, empty if not
    given. `smtputf8`, `body_8bit`: what MAIL asked for.
    """

    sender: Mailbox | None
    recipients: list[RecipientPath]

    def __init__(self) -> None:
        """Start empty."""
        super().__init__()
        self.sender = None
        self.recipients = []
        self.ret = ""
        self.envid = b""
        self.smtputf8 = False
        self.body_8bit = False


class MailSession(Session):
    """One connection.

    `peer_address`: the client's IP address, behind a proxy the one the proxy names. `tls`: None in
    plain text. `login`: whatever the authenticator returned, None before. `helo`: the name given.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start before the banner."""
        super().__init__(loop)
        self.peer_address = ""
        self.tls: TlsInfo | None = None
        self.login: Any = None
        self.helo = ""

    def learn(self, transport: asyncio.BaseTransport, named: str) -> None:
        """Take who and what is at the other end; `named` is the address a proxy gave, or empty."""
        self.peer = peer = transport.get_extra_info("peername")
        # A unix socket's peer has a path or nothing, not a pair.
        self.peer_address = named or (str(peer[0]) if isinstance(peer, tuple) else "")
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            cipher = tls.cipher()
            self.ssl = {"ssl_object": tls, "cipher": cipher}
            self.tls = TlsInfo(version=tls.version() or "", cipher=cipher[0] if cipher else "")

    @property
    def auth_data(self) -> Any:
        """What aiosmtpd calls the login."""
        return self.login

    @auth_data.setter
    def auth_data(self, value: Any) -> None:
        self.login = value

"""What a door (SMTP or HTTP) hands to acceptance."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from relay.mail.addresses import Mailbox
from relay.settings import Credential


class Recipient(msgspec.Struct, frozen=True, kw_only=True):
    """One RCPT: where to, and what the client asked to be notified of (RFC 3461)."""

    mailbox: Mailbox
    notify: str = ""
    orcpt: bytes = b""


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """A message with its envelope, as one authenticated client handed it in.

    `content` has CRLF line ends only. `sender` is None for the null sender. `protocol` is the
    word that stands after `with` in our Received field (RFC 3848).
    """

    content: bytes
    sender: Mailbox | None
    recipients: Sequence[Recipient]
    credential: Credential
    helo: str = ""
    peer_address: str = ""
    protocol: str = "ESMTPSA"
    utf8: bool = False
    eightbit: bool = False
    ret: str = ""
    envid: bytes = b""

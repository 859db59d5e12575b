"""The command lines of a transaction, built from bytes that were checked once more.

Guarantees that whatever an address or a parameter holds, exactly one command goes on the wire
(smtp-security sections 2 and 5): no control byte, no bracket outside quotes, no second line. Raises
`UnsendableError`, and then nothing was sent.
"""

from __future__ import annotations

import re
from collections.abc import Container

from relay.delivery.outgoing import Outgoing
from relay.errors import WaypostError
from relay.mail.addresses import AddressError, check_wire
from relay.mail.lines import is_crlf_clean, stuff

_XTEXT = re.compile(rb"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+")
_ORCPT = re.compile(rb"[A-Za-z0-9-]+;(?:[!-*,-<>-~]|\+[0-9A-F]{2})+")
_NOTIFY = re.compile(r"NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY)){0,2}")


class UnsendableError(WaypostError):
    """An address, parameter or content that must not go on the wire; `enhanced` is its RFC 3463
    code.
    """

    def __init__(self, enhanced: str, text: str) -> None:
        """Keep the code and one sentence of plain text."""
        super().__init__(text)
        self.enhanced = enhanced


def check_path(address: bytes, *, utf8: bool) -> bytes:
    """Give the address back if it may stand between brackets; `utf8`: SMTPUTF8 is in use."""
    try:
        check_wire(address, utf8=utf8)
    except AddressError as error:
        raise UnsendableError(error.enhanced, error.text) from None
    return address


def check_content(content: bytes, *, clean: bool = False) -> bytes:
    """Give the content back, dot-stuffed and ended by the final dot; refuses bare CR or LF
    (smtp-security section 6). `clean`: it is known to have neither these nor leading dots.
    """
    if not clean:
        if not is_crlf_clean(content):
            raise UnsendableError("5.6.0", "the content has a line end that is not CRLF")
        if b"\r\n." in content or content[:1] == b".":
            content = stuff(content)
    if content.endswith(b"\r\n") or not content:
        return content + b".\r\n"
    return content + b"\r\n.\r\n"


def _needs_utf8(mail: Outgoing) -> bool:
    """Tell whether a mail submitted with SMTPUTF8 cannot do without it: UTF-8 in the envelope or in
    a header (RFC 6531 section 3.6: what is plain ASCII may go to a host without the extension).
    """
    head = mail.content.partition(b"\r\n\r\n")[0]
    return not (mail.return_path.isascii() and mail.recipient.isascii() and head.isascii())


def lacking(
    mail: Outgoing, extensions: Container[bytes], size_limit: int, *, strict_eightbit: bool
) -> tuple[str, str] | None:
    """Give enhanced code and text of what this next hop lacks for this mail, None if nothing."""
    if mail.utf8 and b"SMTPUTF8" not in extensions and _needs_utf8(mail):
        return "5.6.7", "the next hop does not take UTF-8 addresses or headers (SMTPUTF8)"
    if size_limit and len(mail.content) > size_limit:
        text = f"the message has {len(mail.content)} octets, the next hop takes {size_limit}"
        return "5.3.4", text
    if mail.eightbit and strict_eightbit and b"8BITMIME" not in extensions:
        return "5.6.3", "the next hop does not take 8-bit content (8BITMIME)"
    return None


def mail_command(mail: Outgoing, extensions: Container[bytes]) -> bytes:
    """Give the MAIL line with the parameters that this next hop offers."""
    if not mail.return_path:
        line = b"MAIL FROM:<>"
    else:
        line = b"MAIL FROM:<" + check_path(mail.return_path, utf8=mail.utf8) + b">"
    if b"SIZE" in extensions:
        line += b" SIZE=%d" % len(mail.content)
    if mail.eightbit and b"8BITMIME" in extensions:
        line += b" BODY=8BITMIME"
    if mail.utf8 and b"SMTPUTF8" in extensions:
        line += b" SMTPUTF8"
    if (mail.ret or mail.envid) and b"DSN" in extensions:
        line += _envelope_dsn(mail)
    return line + b"\r\n"


def rcpt_command(mail: Outgoing, extensions: Container[bytes]) -> bytes:
    """Give the RCPT line with its DSN parameters (RFC 3461 section 4) where offered."""
    line = b"RCPT TO:<" + check_path(mail.recipient, utf8=mail.utf8) + b">"
    if (mail.notify or mail.orcpt) and b"DSN" in extensions:
        if mail.notify:
            if _NOTIFY.fullmatch(mail.notify) is None:
                raise UnsendableError(
                    "5.5.4", "NOTIFY is not NEVER or a list of SUCCESS, FAILURE, DELAY"
                )
            line += b" NOTIFY=" + mail.notify.encode("ascii")
        if mail.orcpt:
            if len(mail.orcpt) > 500 or _ORCPT.fullmatch(mail.orcpt) is None:
                raise UnsendableError("5.5.4", "ORCPT is not a type, a semicolon and xtext")
            line += b" ORCPT=" + mail.orcpt
    return line + b"\r\n"


def _envelope_dsn(mail: Outgoing) -> bytes:
    parameters = b""
    if mail.ret:
        if mail.ret not in ("FULL", "HDRS"):
            raise UnsendableError("5.5.4", "RET is neither FULL nor HDRS")
        parameters += b" RET=" + mail.ret.encode("ascii")
    if mail.envid:
        if len(mail.envid) > 100 or _XTEXT.fullmatch(mail.envid) is None:
            raise UnsendableError("5.5.4", "ENVID is not xtext of at most 100 characters")
        parameters += b" ENVID=" + mail.envid
    return parameters

"""May this account use this sender: the From: field of a submission against the account's sending
domains.
"""

from __future__ import annotations

import re

from relay.errors import RefusedError
from relay.mail.addresses import AddressError, parse_address
from relay.mail.header import Header, strip_comments
from relay.settings import Account, SendingDomain, Settings

# One address in angle brackets behind a display name; neither holds another bracket but in quotes.
_QUOTED = rb'"(?>(?:[^"\\]|\\.)*)"'
_BRACKETED = re.compile(
    rb"((?>(?:" + _QUOTED + rb'|[^"<>])*))<((?>(?:' + _QUOTED + rb'|[^"<>])*))>'
)
_QUOTED_STRING = re.compile(_QUOTED)
_SEPARATES = re.compile(rb"[,;:()]")
_MAX_FROM = 2048


def from_domain(header: Header) -> str:
    """Give the domain of From: (A-label, lower case).

    Raises RefusedError unless there is exactly one From: with one address (RFC 5322 section 3.6;
    mailbox lists are refused because statistics and DKIM alignment go by one sending domain).
    """
    found = header.all(b"from")
    if len(found) != 1:
        raise RefusedError(
            550, "5.6.0", f"exactly one From: header is expected, {len(found)} found"
        )
    value = found[0].text
    if len(value) > _MAX_FROM:
        raise RefusedError(550, "5.6.0", f"From: is longer than {_MAX_FROM} octets")
    try:
        return parse_address(_one_address(strip_comments(value))).routing_domain
    except AddressError:
        raise RefusedError(550, "5.6.0", "From: has no address of the form name@domain") from None


def _one_address(value: bytes) -> bytes:
    """Give the address of a mailbox without comments; raises RefusedError if there may be two.

    Names that ought to be quoted are common and pass ("Shop, Inc. <news@shop.test>"), unless they
    could be read as one more address: what one reader takes for a name, another takes for the
    sender.
    """
    bracketed = _BRACKETED.fullmatch(value)
    if bracketed is None:
        return value
    name = _QUOTED_STRING.sub(b"", bracketed[1])
    if b"@" in name and _SEPARATES.search(name):
        raise RefusedError(550, "5.6.0", "From: seems to hold several addresses; one is expected")
    return bracketed[2].strip()


def check_sender(
    settings: Settings, account: Account, header: Header
) -> tuple[str, SendingDomain | None]:
    """Give the sending domain's name and registration; raises RefusedError if the account may not
    use it.
    """
    name = from_domain(header)
    domain = settings.domains.get(name)
    if domain is not None and domain.account == account.id:
        return name, domain
    if account.any_sender and domain is None:
        return name, None
    raise RefusedError(
        550, "5.7.1", f"this account may not send as {name}; add it as a sending domain first"
    )

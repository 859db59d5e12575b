"""May this account use this sender: the From: field of a submission against the account's sending
domains.
"""

from __future__ import annotations

import re

from relay.errors import RefusedError
from relay.mail.addresses import AddressError, parse_address
from relay.mail.header import Header
from relay.settings import Account, SendingDomain, Settings

_BRACKETED = re.compile(rb"<([^<>]*)>\s*(?:\([^()]*\)\s*)?$")
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
    value = found[0].text[:_MAX_FROM]
    bracketed = _BRACKETED.search(value)
    address = bracketed[1] if bracketed else re.sub(rb"\s*\([^()]*\)\s*", b"", value)
    try:
        return parse_address(address.strip()).routing_domain
    except AddressError:
        raise RefusedError(550, "5.6.0", "From: has no address of the form name@domain") from None


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

"""The kinds of text that operations take, with their bounds, and how a typed name is made regular.

Guarantees: no control character and no NUL comes past these types (logs and PostgreSQL would both
be harmed), and every length is bounded.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from relay.errors import InvalidError
from relay.mail.addresses import AddressError, parse_address

_PRINTABLE = r"^(?![\s\S]*[\x00-\x1f\x7f])"

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=_PRINTABLE)]
Note = Annotated[str, msgspec.Meta(max_length=200, pattern=_PRINTABLE)]
Text = Annotated[str, msgspec.Meta(max_length=320, pattern=_PRINTABLE)]
Login = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}(?![\s\S])")]
DomainName = Annotated[str, msgspec.Meta(min_length=1, max_length=253, pattern=_PRINTABLE)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
AccountId = Annotated[int, msgspec.Meta(ge=1, le=2**32 - 1)]  # tokens carry it in 32 bits


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Root of what comes in: unknown fields are refused."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """Root of what goes out."""


_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def harmless_cell(cell: str) -> str:
    """Give a CSV cell that a spreadsheet does not run as a formula: with an apostrophe in front."""
    return "'" + cell if cell.startswith(_FORMULA) else cell


def original_cell(cell: str) -> str:
    """Take off the apostrophe that `harmless_cell` put in front."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell


def domain_name(typed: str, field: str = "name") -> str:
    """Give a domain as A-labels in lower case; raises InvalidError."""
    name = typed.strip().removesuffix(".")
    try:
        mailbox = parse_address(b"postmaster@" + name.encode("utf-8"), utf8=True)
    except (AddressError, UnicodeEncodeError):
        raise InvalidError(f"{typed!r} is not a domain name", field=field) from None
    regular = mailbox.routing_domain
    if "." not in regular or regular.startswith("["):
        raise InvalidError(f"{typed!r} is not a full domain name", field=field)
    return regular


def recipient_address(typed: str, field: str = "recipient") -> str:
    """Give an address that somebody typed in its regular form; raises InvalidError with a hint."""
    from email_validator import EmailNotValidError, validate_email  # slow to import

    try:
        validate_email(
            typed.strip(),
            allow_quoted_local=True,
            test_environment=True,
            check_deliverability=False,
        )
    except EmailNotValidError as problem:
        raise InvalidError(f"{typed!r} is not an e-mail address: {problem}", field=field) from None
    return regular_address(typed, field)


def regular_address(address: str, field: str = "recipient") -> str:
    """Give an address as suppressions compare it: lower case, domain in A-labels.

    Takes everything that our own grammar takes from the wire; raises InvalidError for the rest.
    """
    try:
        mailbox = parse_address(address.strip().encode("utf-8"), utf8=True)
    except (AddressError, UnicodeEncodeError):
        raise InvalidError(f"{address!r} is not an e-mail address", field=field) from None
    local = mailbox.local.decode("utf-8").lower()
    return f"{local}@{mailbox.routing_domain}"

"""The one grammar for envelope addresses: RFC 5321 section 4.1.2 and RFC 6531 section 3.3, strict.

Bytes come in and the same bytes go out: nothing is decoded, folded, unquoted or normalised, so
that what a policy looked at is what the wire carries. SMTP in, the API, SMTP out, reports and
storage all use these functions; none of them may parse an address in another way.

Refused everywhere: control bytes, comments, folding, missing brackets or domains, trailing dots,
domains of digits, and RFC 2047 encoded words in a local part (decoded by a careless reader they
become a second command). Source routes are dropped and never used. Whether mail for a domain is
wanted at all is decided elsewhere.
"""

import re
import unicodedata
from typing import Literal, overload

import msgspec

_ATOM = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~%s-]++"
_QUOTED = rb'"(?>(?:[ !#-\[\]-~%s]|\\[ -~])*)"'
_LABEL = rb"[A-Za-z0-9%s](?:[A-Za-z0-9%s-]*[A-Za-z0-9%s])?"


def _grammar(high: bytes) -> bytes:
    """`local@domain` as a pattern; `high` holds the bytes beyond ASCII that text may contain."""
    atom = _ATOM.replace(b"%s", high)
    label = _LABEL.replace(b"%s", high)
    local = rb"(?:" + atom + rb"(?>(?:\." + atom + rb")*)|" + _QUOTED.replace(b"%s", high) + rb")"
    return rb"(" + local + rb")@(" + label + rb"(?:\." + label + rb")*)"


_ASCII_ADDRESS = re.compile(_grammar(b""))
_UTF8_ADDRESS = re.compile(_grammar(rb"\x80-\xff"))
_ASCII_PATH = re.compile(rb"<" + _grammar(b"") + rb">")
# Where the path of a MAIL or RCPT argument ends: a ">" outside quotes. Quantifiers
# are possessive, groups atomic: a failed match must not try every split of a long argument.
_PATH = re.compile(rb'<(?>(?:[^"<>]++|"(?>(?:[^"\\]|\\.)*)")*)>', re.DOTALL)
_ROUTE = re.compile(rb"@[A-Za-z0-9.-]++(?>(?:,@[A-Za-z0-9.-]++)*):")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_LITERAL = re.compile(rb"(?:" + _ATOM.replace(b"%s", b"") + rb"\.?)+@\[([^\[\]]*)\]")
_OCTET = rb"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(_OCTET + rb"(?:\." + _OCTET + rb"){3}")
_DIGITS_LAST = re.compile(rb"(?:.*\.)?[0-9]+", re.DOTALL)
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
_DIRECTING = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
"""Not seen, but they turn around or hide what is seen: shown, the address is another."""

LOCAL_LIMIT = 64
DOMAIN_LIMIT = 255
LABEL_LIMIT = 63
PATH_LIMIT = 256  # with the brackets, RFC 5321 section 4.5.3.1.3


class AddressError(ValueError):
    """The address cannot be used; `reply` is what an SMTP client is told.

    Attributes: `code` (int, 501, 550 or 553), `enhanced` (str, RFC 3463), `text` (str, ASCII).
    """

    def __init__(self, code: int, enhanced: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.enhanced = enhanced
        self.text = text

    @property
    def reply(self) -> str:
        """The whole SMTP reply line without its line end."""
        return f"{self.code} {self.enhanced} {self.text}"


class Mailbox(msgspec.Struct, frozen=True, kw_only=True):
    """One checked address. Made by the functions of this module only.

    `local` keeps its quotes and `domain` its case: both are the bytes as they were typed.
    """

    local: bytes
    domain: bytes

    @property
    def address(self) -> bytes:
        """The address as typed, without brackets."""
        return self.local + b"@" + self.domain

    @property
    def routing_domain(self) -> str:
        """The domain for comparing and for DNS: A-labels, lower case.

        Raises AddressError for a name that IDNA 2008 does not allow (never after parsing).
        """
        if self.domain.isascii():
            return self.domain.lower().decode("ascii")
        return _a_labels(self.domain)

    @property
    def is_ascii(self) -> bool:
        """Whether the address can travel without SMTPUTF8 as it stands."""
        return self.local.isascii() and self.domain.isascii()

    def __str__(self) -> str:
        return self.address.decode("utf-8")


@overload
def parse_path(
    raw: bytes,
    *,
    utf8: bool,
    null_ok: Literal[False],
    literals: bool = ...,
    local_limit: int = ...,
    postmaster: bytes = ...,
) -> Mailbox: ...
@overload
def parse_path(
    raw: bytes,
    *,
    utf8: bool,
    null_ok: bool,
    literals: bool = ...,
    local_limit: int = ...,
    postmaster: bytes = ...,
) -> Mailbox | None: ...
def parse_path(
    raw: bytes,
    *,
    utf8: bool,
    null_ok: bool,
    literals: bool = False,
    local_limit: int = LOCAL_LIMIT,
    postmaster: bytes = b"",
) -> Mailbox | None:
    """Read `<local@domain>` with its brackets (RFC 5321 section 4.1.2, Path).

    `utf8`: the transaction asked for SMTPUTF8. `null_ok`: `<>` is allowed and gives None.
    `literals`: address literals such as `[192.0.2.1]` are allowed. `local_limit`: longest local
    part in bytes. `postmaster`: the domain that a bare `<Postmaster>` means, empty if none.

    Raises AddressError: 501 when the brackets are wrong, 550 or 553 when the address is.
    """
    # Nearly all paths are of this form and pass one look; everything else is told apart below.
    plain = _ASCII_PATH.fullmatch(raw)
    if plain is not None and len(raw) <= PATH_LIMIT:
        return _checked(plain[1], plain[2], local_limit)
    if not _PATH.fullmatch(raw):
        raise _unbracketed()
    inner = raw[1:-1]
    if not inner:
        if null_ok:
            return None
        raise _invalid("an empty address is allowed only as a sender")
    if len(raw) > PATH_LIMIT:
        raise _invalid(f"the path is longer than {PATH_LIMIT} octets")
    if inner[:1] == b"@":
        route = _ROUTE.match(inner)
        if route is None:
            raise _invalid("the address is not of the form name@domain")
        inner = inner[route.end() :]
    elif postmaster and inner.lower() == b"postmaster":
        return Mailbox(local=inner, domain=postmaster)
    return parse_address(inner, utf8=utf8, literals=literals, local_limit=local_limit)


def plain_path(argument: bytes, local_limit: int = LOCAL_LIMIT) -> tuple[Mailbox, bytes] | None:
    """Read the path that `argument` begins with, if it is of the most usual form.

    Gives the mailbox and the parameters after it, or None if `split_path` and `parse_path` must
    look closer. Raises AddressError as they do; never takes what they refuse.
    """
    found = _ASCII_PATH.match(argument)
    if found is None:
        return None
    end = found.end()
    if end > PATH_LIMIT or (end < len(argument) and argument[end] != 0x20):
        return None
    parameters = argument[end + 1 :]
    if parameters and not parameters[:1].isalnum():
        return None
    return _checked(found[1], found[2], local_limit), parameters


def split_path(argument: bytes) -> tuple[bytes, bytes]:
    """Split what follows `FROM:` or `TO:` into the bracketed path and the parameters after it.

    Raises AddressError (501) when there is no path in brackets or no space after it.
    """
    found = _PATH.match(argument)
    if found is None:
        raise _unbracketed()
    rest = argument[found.end() :]
    parameters = rest.strip(b" ")
    if rest and (rest[:1] != b" " or (parameters and not parameters[:1].isalnum())):
        raise _unbracketed()
    return found.group(), parameters


def parse_address(
    raw: bytes, *, utf8: bool = True, literals: bool = False, local_limit: int = LOCAL_LIMIT
) -> Mailbox:
    """Read `local@domain` without brackets; arguments and errors as in `parse_path`."""
    grammar = _ASCII_ADDRESS
    if not raw.isascii():
        _check_utf8(raw, allowed=utf8)
        grammar = _UTF8_ADDRESS
    found = grammar.fullmatch(raw)
    if found is None:
        return _parse_unusual(raw, literals=literals)
    mailbox = _checked(found[1], found[2], local_limit)
    if not mailbox.domain.isascii():
        _a_labels(mailbox.domain)
    return mailbox


def check_wire(address: bytes, *, utf8: bool = False) -> None:
    """Assert that the final bytes of an outgoing MAIL or RCPT are one address and no more.

    `utf8`: the next hop announced SMTPUTF8 and the transaction uses it. An empty address (the null
    sender) is for the caller to treat. Raises AddressError.
    """
    # Nearly every address passes these looks; where one does not, the whole grammar says why.
    if (
        len(address) > LABEL_LIMIT  # else both parts are within their bounds
        or address[-1:].isdigit()
        or b"=?" in address
        or _ASCII_ADDRESS.fullmatch(address) is None
    ):
        parse_address(address, utf8=utf8, literals=True)


def _parse_unusual(raw: bytes, *, literals: bool) -> Mailbox:
    """Explain why the plain grammar did not match, or read an address literal."""
    if _CONTROL.search(raw):
        raise _invalid("control characters are not allowed in an address")
    found = _LITERAL.fullmatch(raw)
    if found is None:
        raise _invalid("the address is not of the form name@domain")
    literal = found.group(1)
    if not _is_address_literal(literal):
        raise _invalid("the address literal is not an IP address")
    if not literals:
        raise AddressError(550, "5.1.2", "Mail to address literals is not accepted here")
    local, _, domain = raw.rpartition(b"@")
    if local[-1:] == b"." or len(local) > LOCAL_LIMIT:
        raise _invalid("the address is not of the form name@domain")
    return Mailbox(local=local, domain=domain)


def _is_address_literal(literal: bytes) -> bool:
    if literal[:5].lower() != b"ipv6:":
        return _IPV4.fullmatch(literal) is not None
    import ipaddress  # address literals are rare

    try:
        ipaddress.IPv6Address(literal[5:].decode("ascii"))
    except ValueError:
        return False
    return b"%" not in literal  # a zone names an interface of somebody else's machine


def _check_utf8(raw: bytes, *, allowed: bool) -> None:
    if not allowed:
        raise AddressError(553, "5.6.7", "A non-ASCII address needs the SMTPUTF8 parameter")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _invalid("the address is not valid UTF-8") from None
    if not _DIRECTING.isdisjoint(text) or any(
        unicodedata.category(char) in _UNPRINTABLE for char in text
    ):
        raise _invalid("control characters are not allowed in an address")


def _checked(local: bytes, domain: bytes, local_limit: int) -> Mailbox:
    """Check of two parts that have the right form what the grammar does not say."""
    if len(local) > local_limit:
        raise _invalid(f"the local part is longer than {local_limit} octets")
    if len(domain) > LABEL_LIMIT:
        if len(domain) > DOMAIN_LIMIT:
            raise _invalid(f"the domain is longer than {DOMAIN_LIMIT} octets")
        if max(map(len, domain.split(b"."))) > LABEL_LIMIT:
            raise _invalid(f"a label of the domain is longer than {LABEL_LIMIT} octets")
    if b"=?" in local:
        raise _invalid("encoded words are not allowed in an address")
    if domain[-1] in b"0123456789" and _DIGITS_LAST.fullmatch(domain):
        raise _invalid("the domain ends in a number; a name was expected")
    return Mailbox(local=local, domain=domain)


def _a_labels(domain: bytes) -> str:
    """Turn a UTF-8 domain into A-labels (RFC 5891); no mapping that could merge two names."""
    # Loaded on the first use: most installations never need its megabytes of tables.
    import idna

    try:
        name: bytes = idna.encode(domain.decode("utf-8").lower(), strict=True)
    except (idna.IDNAError, UnicodeError):
        raise _invalid("the domain is not an allowed internationalised name") from None
    return name.decode("ascii")


def _unbracketed() -> AddressError:
    return AddressError(501, "5.1.3", "Write the address in angle brackets: <name@domain>")


def _invalid(what: str) -> AddressError:
    return AddressError(553, "5.1.3", f"Invalid address: {what}")

"""Parameters of MAIL and RCPT: RFC 1870, 6152, 6531, 4954 section 5, 3461 section 4.

Keywords are read in any case, values are kept byte for byte. What is unknown, given twice or has a
bad value is refused, never ignored. Values that would decode to control bytes are refused: somebody
downstream will decode them.
"""

import re
from collections.abc import Mapping

from relay.submission.events import SenderParameters

_PARAMETER = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e\x80-\xff]+))?")
_ONLY_SIZE = re.compile(rb"SIZE=([0-9]{1,20})(?: BODY=(?:7BIT|(8BITMIME)))?", re.IGNORECASE)
_NONE = SenderParameters()
_SIZE = re.compile(rb"[0-9]{1,20}")
_XTEXT = re.compile(rb"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-F]{2})+")
# Decoded these would be control bytes: line ends, NUL, escape sequences.
_XTEXT_CONTROL = re.compile(rb"\+(?:[01][0-9A-F]|7F|[89A-F][0-9A-F])")  # or no ASCII
_ORCPT = re.compile(rb"([A-Za-z0-9-]+);(.+)", re.DOTALL)
_UTF8_XTEXT = re.compile(
    rb"(?:[\x21-\x2a\x2c-\x3c\x3e-\x5b\x5d-\x7e\x80-\xff]|\+[0-9A-F]{2}|\\x\{[0-9A-F]{2,6}\})+"
)
# Control characters, separators of lines, turns of direction, surrogates, what no character can be.
_UTF8_CONTROL = re.compile(
    rb"\\x\{0*(?:[01]?[0-9A-F]|7F|[89][0-9A-F]|200[EF]|202[89A-E]|206[6-9]|D[89A-F][0-9A-F]{2}"
    rb"|1[1-9A-F][0-9A-F]{4}|[2-9A-F][0-9A-F]{5})\}"
)
_NOTIFY = frozenset({b"SUCCESS", b"FAILURE", b"DELAY"})

ENVID_LIMIT = 100  # RFC 3461 section 4.4
ORCPT_LIMIT = 500  # RFC 3461 section 4.2


class ParameterError(ValueError):
    """A parameter that cannot be taken; `reply` says which kind and why."""

    def __init__(self, reply: bytes) -> None:
        super().__init__(reply.decode("ascii"))
        self.reply = reply


def split(raw: bytes) -> dict[bytes, bytes | None]:
    """Take parameters apart into keyword (upper case) and value; raises ParameterError."""
    found: dict[bytes, bytes | None] = {}
    for word in raw.split(b" "):
        if not word:
            continue
        match = _PARAMETER.fullmatch(word)
        if match is None:
            raise ParameterError(b"501 5.5.4 A parameter is not of the form KEYWORD=value")
        keyword = match.group(1).upper()
        if keyword in found:
            raise ParameterError(b"501 5.5.4 A parameter is given twice")
        found[keyword] = match.group(2)
    return found


def read_sender(raw: bytes, *, limit: int, smtputf8: bool, dsn: bool) -> SenderParameters:
    """Read the parameters of MAIL.

    `limit`: largest message in octets; `smtputf8` and `dsn`: whether these are offered. Raises
    ParameterError: 501 for a bad value, 552 for a declared size beyond the limit, 555 for a
    parameter that is not offered.
    """
    if not raw:
        return _NONE
    common = _ONLY_SIZE.fullmatch(raw)
    if common is not None and int(common.group(1)) <= limit:
        return SenderParameters(size=int(common.group(1)), eightbit=common.group(2) is not None)
    found = split(raw)
    size = _size(found, limit)
    body = _valued(found, b"BODY")
    if body is not None and body.upper() not in (b"7BIT", b"8BITMIME"):
        raise ParameterError(b"501 5.5.4 BODY must be 7BIT or 8BITMIME")
    utf8 = smtputf8 and b"SMTPUTF8" in found
    if utf8 and found.pop(b"SMTPUTF8") is not None:
        raise ParameterError(b"501 5.5.4 SMTPUTF8 takes no value")
    auth = _valued(found, b"AUTH") or b""
    if auth and auth != b"<>":
        _check_xtext(auth, b"AUTH")
    ret = envid = b""
    if dsn:
        ret = (_valued(found, b"RET") or b"").upper()
        envid = _valued(found, b"ENVID") or b""
    if ret not in (b"", b"FULL", b"HDRS"):
        raise ParameterError(b"501 5.5.4 RET must be FULL or HDRS")
    if envid:
        _check_xtext(envid, b"ENVID")
    if len(envid) > ENVID_LIMIT:
        raise ParameterError(b"501 5.5.4 ENVID is longer than 100 characters")
    _refuse_rest(found)
    return SenderParameters(
        size=size,
        eightbit=body is not None and body.upper() == b"8BITMIME",
        smtputf8=utf8,
        ret=ret.decode("ascii"),
        envid=envid,
        auth=auth,
    )


def read_recipient(raw: bytes, *, dsn: bool, smtputf8: bool) -> tuple[str, bytes]:
    """Read the parameters of RCPT: NOTIFY in upper case ("" if absent) and ORCPT as typed.

    `smtputf8`: the transaction uses it, so ORCPT may hold UTF-8 (RFC 6533 section 3). Raises
    ParameterError as `read_sender` does.
    """
    if not raw:
        return "", b""
    found = split(raw)
    notify = orcpt = b""
    if dsn:
        notify = (_valued(found, b"NOTIFY") or b"").upper()
        orcpt = _valued(found, b"ORCPT") or b""
    if notify not in (b"", b"NEVER") and not _NOTIFY.issuperset(notify.split(b",")):
        raise ParameterError(
            b"501 5.5.4 NOTIFY must be NEVER, or a list of SUCCESS, FAILURE and DELAY"
        )
    if orcpt:
        _check_orcpt(orcpt, smtputf8=smtputf8)
    _refuse_rest(found)
    return notify.decode("ascii"), orcpt


def _size(found: dict[bytes, bytes | None], limit: int) -> int:
    raw = _valued(found, b"SIZE")
    if raw is None:
        return 0
    # Bytes, so that a superscript two is not a digit (int() and str.isdigit() disagree on it).
    if not _SIZE.fullmatch(raw):
        raise ParameterError(b"501 5.5.4 SIZE must be a number of octets")
    size = int(raw)
    if size > limit:
        raise ParameterError(b"552 5.3.4 The message is larger than this server takes")
    return size


def _valued(found: dict[bytes, bytes | None], keyword: bytes) -> bytes | None:
    """Take a parameter that must have a value out of `found`."""
    if keyword not in found:
        return None
    value = found.pop(keyword)
    if value is None:
        raise ParameterError(b"501 5.5.4 " + keyword + b" needs a value")
    return value


def _check_xtext(value: bytes, keyword: bytes) -> None:
    if not _XTEXT.fullmatch(value):
        raise ParameterError(b"501 5.5.4 " + keyword + b" is not valid xtext")
    if _XTEXT_CONTROL.search(value):
        raise ParameterError(b"501 5.5.4 " + keyword + b" holds an encoded control character")


def _check_orcpt(value: bytes, *, smtputf8: bool) -> None:
    match = _ORCPT.fullmatch(value)
    if match is None or len(value) > ORCPT_LIMIT:
        raise ParameterError(b"501 5.5.4 ORCPT must be type;address in at most 500 characters")
    kind, address = match.groups()
    if kind.lower() != b"utf-8":
        _check_xtext(address, b"ORCPT")
        return
    if not _UTF8_XTEXT.fullmatch(address) or not (smtputf8 or address.isascii()):
        raise ParameterError(b"501 5.5.4 ORCPT is not a valid utf-8 address")
    if _UTF8_CONTROL.search(address) or _XTEXT_CONTROL.search(address):
        raise ParameterError(b"501 5.5.4 ORCPT holds an encoded control character")
    try:
        address.decode("utf-8")
    except UnicodeDecodeError:
        raise ParameterError(b"501 5.5.4 ORCPT is not valid UTF-8") from None


def _refuse_rest(found: Mapping[bytes, bytes | None]) -> None:
    if found:
        raise ParameterError(b"555 5.5.4 A parameter is not known or not offered here")

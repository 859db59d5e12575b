"""Addresses as reports write them: typed, bracketed, escaped, in the middle of sentences.

Guarantees: linear searches only; what is given out is `local@domain` as it was written (case kept),
at most 320 characters, without brackets and without the address type of RFC 3464 section 2.3.
Whether an address is valid is not asked here: a report names what it names.
"""

from __future__ import annotations

import re
from typing import Final

from bounces.anatomy import unword

# The local part takes what real reports contain; quotes, brackets and "mailto:" stay outside.
# Both classes are written by what they leave out: as ranges up to the last character of Unicode
# they take a tenth of a second to compile.
_LOCAL: Final = r"[^\s\x00-\x1f\x7f\"(),:;<>@\[\\\]]{1,128}"
_LABEL: Final = r"[^\s\x00-,./:-@\[-^`{-\x7f]+"
ADDRESS: Final = (
    rf"(?:\"[^\"\n@<>]{{1,64}}\"|{_LOCAL})@(?:{_LABEL}\.)*(?:{_LABEL}|\[[\w.:]{{3,50}}\])"
)
_FIND = re.compile(ADDRESS)
_BRACKETED = re.compile(r"<\s*([^<>\s]{1,200}@[^<>\s]{1,255})\s*>")
_TYPE = re.compile(r"\s*[\w/.-]{1,30}\s*;\s*(.*)", re.DOTALL)
_ESCAPED = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
# Chinese and Japanese text stands next to an address without a blank.
_ASCII_TAIL = re.compile(r"[^\x00-\u2e7f]([!-~]+)$")
_CJK_BEHIND = re.compile(r"(?<=[!-~])[^\x00-\u2e7f].*", re.DOTALL)
_EDGES = "'`\"*.,;:!?=|-{}\u00ab\u00bb\u2018\u2019\u201a\u201c\u201d\u201e\u2039\u203a"
_BEHIND = ">.-_}\u00ab\u00bb\u2018\u2019\u201c\u201d\u2039\u203a"
_QUOTED: Final = re.compile(r"=\?|\?=")


def find_all(text: str) -> list[str]:
    """Find every address of a text, in order, doubles left out by folded spelling."""
    if "@" not in text:
        return []
    found: dict[str, str] = {}
    for match in _FIND.finditer(text):
        address = clean(match[0])
        if address:
            found.setdefault(address.lower(), address)
    return list(found.values())


def find(text: str) -> str:
    """Find the first address of a text, a bracketed one before a bare one, or `""`."""
    if "@" not in text:
        return ""
    bracketed = _BRACKETED.search(text)
    if bracketed:
        return clean(bracketed[1])
    found = _FIND.search(text)
    return clean(found[0]) if found else ""


def clean(address: str) -> str:
    """Take off what surrounds an address; `""` if no address is left."""
    address = address.strip().strip("<>")
    if address[:7].lower() == "mailto:":
        address = address[7:]
    if address[:5].lower() == "smtp:":
        address = address[5:]
    local, at, domain = address.rpartition("@")
    if not local.startswith('"'):
        local = local.lstrip(_EDGES)
    local, domain = _out_of_cjk(local), _CJK_BEHIND.sub("", domain).rstrip(_BEHIND)
    if not (at and local and domain) or len(local) + len(domain) > 319 or _QUOTED.search(local):
        return ""
    return f"{local}@{domain}"


def typed(value: str) -> str:
    """Read an address field of a status report: `rfc822; ann@inbox.test`, `utf-8; ...` (RFC 6533).

    A name without a domain is given back as it stands: some systems know their users by it.
    """
    found = _TYPE.match(value)
    rest = found[1] if found and "@" not in value[: found.start(1)] else value
    rest = _ESCAPED.sub(_unescape, unword(rest.strip()))
    if "@" in rest:
        address = find(rest) or clean(rest.split()[0])
        if address:
            return address
    name = rest.strip("<>\"' ")
    if name[:1] == "/":  # an X.400 name has blanks inside
        return name[:320]
    return name.split()[0][:320].strip("<>") if name else ""


def _out_of_cjk(local: str) -> str:
    """Take an ASCII local part out of the words written before it without a blank."""
    if local.isascii():
        return local
    found = _ASCII_TAIL.search(local)
    return found[1] if found else local


def _unescape(found: re.Match[str]) -> str:
    code = int(found[1], 16)
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 and code > 0x20 else ""

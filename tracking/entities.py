"""Character references in attribute values, decoded as a browser does (HTML, 13.2.5.73).

Guarantees: in an attribute a named reference without semicolon stays as it is before "=" or a
letter or digit ("?a=1&copy=2" is a query, no copyright sign). Nothing else about the value changes.
"""

import re
from html.entities import html5

_REFERENCE = re.compile(r"&(#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[A-Za-z][A-Za-z0-9]*;?)")
_LONGEST = max(map(len, html5))


def unescape(value: str) -> str:
    """Decode the references in an attribute's value."""
    if "&" not in value:
        return value
    return _REFERENCE.sub(_decoded, value)


def _character(number: str) -> str:
    """Give the character of a numeric reference (13.2.5.80)."""
    digits = (number[1:] if number[0] in "xX" else number).lstrip("0") or "0"
    code = int(digits, 16 if number[0] in "xX" else 10) if len(digits) < 10 else 0
    if code == 0 or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    if 0x80 <= code <= 0x9F:  # written as windows-1252 by those who did not know better
        return bytes((code,)).decode("cp1252", "ignore") or chr(code)
    return chr(code)


def _decoded(match: re.Match[str]) -> str:
    name = match[1]
    if name == "amp;":
        return "&"
    if name[0] == "#":
        return _character(name[1:].rstrip(";"))
    if name[-1] == ";" and name in html5:
        return html5[name]
    following = match.string[match.end() : match.end() + 1]
    for size in range(min(len(name), _LONGEST), 1, -1):
        known = html5.get(name[:size])
        if known is None:
            continue
        after = (name[size:] or following)[:1]
        if name[size - 1] != ";" and (after == "=" or (after.isascii() and after.isalnum())):
            break
        return known + name[size:]
    return match[0]

"""Which URLs are tracked, and what a browser would ask for.

Guarantees: `judge` lets through only absolute http and https URLs with a host, without template
placeholders, and none of our own; the URL it gives is what stands in the href after the browser's
own trimming (URL Standard, 4.4: white space and controls around, tabs and line ends inside). A
destination field holds exactly this URL; `location` of a printable ASCII one is the same bytes,
of any other what a browser puts on the wire: host in punycode, path in percent-encoded UTF-8,
query percent-encoded in the charset of the part.
Leaves to others: entities and charsets of the markup (`plan.py`), and block lists.
"""

import codecs
import re
import unicodedata
from collections.abc import Container
from typing import NamedTuple

# The charsets a query can need besides UTF-8. A token names one by its place in this list, so
# the order is for ever; new ones go to the end, and there is room for 63.
QUERY_CHARSETS = (
    "utf-8",
    "cp1252",
    "cp1250",
    "cp1251",
    "cp1253",
    "cp1254",
    "cp1255",
    "cp1256",
    "cp1257",
    "cp1258",
    "iso8859-2",
    "iso8859-3",
    "iso8859-4",
    "iso8859-5",
    "iso8859-6",
    "iso8859-7",
    "iso8859-8",
    "iso8859-10",
    "iso8859-13",
    "iso8859-14",
    "iso8859-15",
    "iso8859-16",
    "cp866",
    "cp874",
    "koi8-r",
    "koi8-u",
    "mac-roman",
    "mac-cyrillic",
    "gb18030",
    "big5hkscs",
    "euc_jp",
    "cp932",
    "cp949",
    "iso2022_jp",
    "gbk",
)
_CHARSET_NUMBER = {name: number for number, name in enumerate(QUERY_CHARSETS)}
MAX_MARK = 0x3F

_AROUND = "".join(map(chr, range(0x21)))
_INSIDE = str.maketrans("", "", "\t\r\n")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_AUTHORITY = re.compile(r"[hH][tT][tT][pP][sS]?://([^/\\?#]+)")
# Without braces, brackets, "<" or "|", and with "%" only in escapes, nothing is a placeholder.
_USUAL = re.compile(
    rb"https?://([a-z0-9](?:[a-z0-9.-]*+(?<![.-]))?)(?>(?::[0-9]{1,4})?)"
    rb"(?>(?:[/?#](?>(?:[!-$&-;=?-Z\\^-z~]++|%[0-9A-Fa-f]{2})*))?)"
)
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\x00-\x20\x7f\[\]:<>^|%@\"`{}]+)(?::([0-9]{0,5}))?")
_ASCII_LABEL = re.compile(r"[a-z0-9_-]*")
# What browsers of different years map differently (capital sharp s), or drop without a trace.
_IGNORED = re.compile(
    "[\u1e9e\u03f2\u03f9\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_ESCAPED_HOST = re.compile(r"(?:[A-Za-z0-9._-]|%[0-9A-Fa-f]{2})+(?::([0-9]{0,5}))?")
# Merge tags of mailers: {{x}} {%x%} {$x} ${x} #{x} <%x%> [[x]] [%x%] *|X|* %%x%% %x%. Between
# single percent signs three letters or more, and not where either sign begins an escape.
_PLACEHOLDER = re.compile(
    r"\{\{[^{}]{0,200}\}\}|\{%[^%]{0,200}%\}|\{\$[^}]{1,200}\}|[$#]\{[^}]{1,200}\}"
    r"|<%[^%]{0,200}%>|\[\[[^\[\]]{1,200}\]\]|\[%[^%]{0,200}%\]|\*\|[^|]{0,200}\|\*"
    r"|%%[A-Za-z_][^%\s]{0,200}%%"
    r"|%(?![0-9A-Fa-f]{2})[A-Za-z_][A-Za-z0-9_.:-]{2,200}%"
    r"|%[A-Za-z_][A-Za-z0-9_.:-]{2,200}%(?![0-9A-Fa-f]{2}|[A-Za-z0-9])"
)
_PRINTABLE = re.compile(r"[ -~]*")
_SPLIT = re.compile(r"([^/]*//)([^/\\?#]*)([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)


class Verdict(NamedTuple):
    """Whether a URL is tracked: `reason` is "" when it is, else the rule; `url` as trimmed."""

    reason: str
    url: str


class Destination(NamedTuple):
    """What a destination field says: the URL as the author wrote it, and the Location header."""

    url: str
    location: bytes


class BadDestinationError(ValueError):
    """A destination field that no version of Waypost has written."""


def judge(value: str, own_hosts: Container[str], unsubscribe: Container[str]) -> Verdict:
    """Say whether the URL in an href is tracked.

    `own_hosts` are the tracking hosts, in lower case; `unsubscribe` the URLs of List-Unsubscribe.
    Reasons: empty, fragment, placeholder, protocol-relative, relative, scheme, no-host, own-host,
    list-unsubscribe, bad-host.
    """
    url = value.strip(_AROUND).translate(_INSIDE)
    scheme = _SCHEME.match(url)
    if scheme is None or scheme[1].lower() not in ("http", "https"):
        return Verdict(_not_web(url, has_scheme=scheme is not None), url)
    authority = _AUTHORITY.match(url)
    if authority is None:
        return Verdict("no-host", url)
    host, reason = _host(authority[1])
    if _PLACEHOLDER.search(url):
        reason = "placeholder"
    elif host in own_hosts:
        reason = "own-host"
    elif url in unsubscribe:
        reason = "list-unsubscribe"
    return Verdict(reason, url)


def usual_host(value: bytes) -> str | None:
    """Give the host of a URL in the plainest form; None for one that needs `judge`.

    A shortcut for most hrefs, their character references decoded: lower-case http(s), a plain
    host name, printable ASCII, nothing that could be a placeholder.
    """
    match = _USUAL.fullmatch(value)
    return None if match is None else match[1].decode("ascii")


def _not_web(url: str, *, has_scheme: bool) -> str:
    if not url:
        return "empty"
    if url.startswith("#"):
        return "fragment"
    if _PLACEHOLDER.search(url):
        return "placeholder"
    if has_scheme:
        return "scheme"
    return "protocol-relative" if url.startswith("//") else "relative"


def _host(authority: str) -> tuple[str, str]:
    """Give the host in lower case and "" or the reason why it is none."""
    name = authority.rpartition("@")[2]
    match = _HOST.fullmatch(name) or _ESCAPED_HOST.fullmatch(name)
    if match is None or int(match[1] or 0) > 65535:
        return "", "bad-host" if name else "no-host"
    host = name if match[1] is None else name[: match.start(1) - 1]
    if not host.isascii() and ascii_host(host) is None:
        return "", "bad-host"
    return host.lower().rstrip("."), ""


def ascii_host(host: str) -> str | None:
    """Give a host name in punycode (UTS 46, non-transitional), None where it cannot be one.

    A subset on purpose: letters, digits and marks of folded labels. What else the standard would
    map or refuse is refused, and the link stays as it is; above all what folds to a character
    that ends a host, as in "\u2100.test".
    """
    if _IGNORED.search(host):
        return None
    labels: list[str] = []
    for label in re.split("[.\u3002\uff0e\uff61]", _folded(_folded(host))):
        if label.isascii():
            if not _ASCII_LABEL.fullmatch(label):
                return None
            labels.append(label)
            continue
        if not all(unicodedata.category(c)[0] in "LMN" or c == "-" for c in label):
            return None
        if unicodedata.category(label[0])[0] == "M" or len(label) > 63:
            return None
        try:
            labels.append("xn--" + label.encode("punycode").decode("ascii"))
        except UnicodeError:
            return None
    return ".".join(labels)


def _folded(host: str) -> str:
    """Fold case character by character (no final sigma) and apply compatibility (UTS 46)."""
    cased = "".join(c if c in "\u00df\u03c2" else c.casefold() for c in host)
    return unicodedata.normalize("NFKC", cased)


def field(url: str, charset: str) -> bytes | None:
    """Give the destination field of a URL from a part in this charset (a codec's name).

    None when there is no saying what a browser would send: a query beyond ASCII in a charset
    that browsers do not know, or characters that are none.
    """
    try:
        text = url.encode("utf-8")
    except UnicodeEncodeError:
        return None
    if url.isascii() or _query(url).isascii():
        return text
    number = _CHARSET_NUMBER.get(charset)
    if number is None or _in_doubt(_query(url), charset):
        return None
    return text if number == 0 else bytes((number,)) + text


def destination(data: bytes) -> Destination:
    """Read a destination field; raises BadDestinationError for bytes that are none."""
    charset = "utf-8"
    if data[:1] and data[0] <= MAX_MARK:
        if not 0 < data[0] < len(QUERY_CHARSETS):
            raise BadDestinationError(f"charset number {data[0]}")
        charset, data = QUERY_CHARSETS[data[0]], data[1:]
    try:
        url = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadDestinationError(str(error)) from None
    verdict = judge(url, (), ())
    if verdict.reason or verdict.url != url:  # what we write was trimmed
        raise BadDestinationError("no http or https URL")
    return Destination(url, location(url, charset))


def location(url: str, charset: str) -> bytes:
    """Give the Location header for a URL: printable ASCII as it is, else as a browser sends it."""
    if _PRINTABLE.fullmatch(url):
        return url.encode("ascii")
    parts = _SPLIT.fullmatch(url)
    if parts is None:  # no "//": `judge` has refused it
        raise BadDestinationError("no host")
    userinfo, at, name = parts[2].rpartition("@")
    if not name.isascii():
        host, colon, port = name.rpartition(":") if ":" in name else (name, "", "")
        name = (ascii_host(host) or host) + colon + port
    query = parts[4] or ""
    return b"".join(
        (
            parts[1].encode("ascii"),
            _percent(userinfo + at),
            _percent(name),
            _percent(parts[3]),
            _percent(query, charset),
            _percent(parts[5] or ""),
        )
    )


_ESCAPES = re.compile(rb"[^!-~]")
_JIS_ESCAPES = re.compile(rb"[^!-~]|[\"#'<>]")


def _percent(text: str, charset: str = "utf-8") -> bytes:
    """Percent-encode what is not printable ASCII; characters the charset lacks become "&#n;"."""
    if text.isascii() and _PRINTABLE.fullmatch(text):
        return text.encode("ascii")
    # URL Standard 1.3, percent-encode after encoding
    if charset in _NARROWER:
        data = b"".join([_narrow(each, charset) for each in text])
    else:
        data = text.encode(charset, "waypost-character-reference")
    # In iso-2022-jp half of a character may look like the "#" that ends a query.
    escapes = _JIS_ESCAPES if charset == "iso2022_jp" else _ESCAPES
    return escapes.sub(lambda found: b"%%%02X" % found[0][0], data)


# Characters that Python and browsers write in different bytes (found by asking Chromium for every
# one): a query with such a character is left alone.
_JAPANESE_DOUBTS = (
    "[\\ue000-\\uf8ff\\u00a2\\u00a3\\u00a5\\u00ac\\u2014\\u2015\\u2016\\u203e\\u2212\\u2225\\u301c"
    "\\uff0d\\uff5e\\uff61-\\uff9f\\uffe0-\\uffe2]"
)
_DOUBTS = {
    "gb18030": re.compile("[\ue000-\uf8ff\u1e3f\u9fb4-\u9fbb\ufe10-\ufe19]"),
    "big5hkscs": re.compile(
        "[\ue000-\uf8ff"
        "\u00a2-\u00a3\u00a5\u00af\u2022\u2027\u203e\u2215\u223c\u2295\u2299\u2400-\u241f"
        "\u2421\u256d-\u2570\u2609\u2641\u4edd\u5605\u5ed0\u5ef4\u60a4\u65e0\u732a\u7676"
        "\u96b6\ufe51\ufe68\uff0f\uff3c\uff5e\uff64\uffe0-\uffe1\uffe5"
        "]"
    ),
    "cp932": re.compile(
        "[\\ue000-\\uf8ff\\u00a2\\u00a3\\u00a5\\u00ac\\u2014\\u2016\\u203e\\u2212\\u301c]"
    ),
    "euc_jp": re.compile(_JAPANESE_DOUBTS),
    "iso2022_jp": re.compile(_JAPANESE_DOUBTS),
}
_DOUBTS["gbk"] = _DOUBTS["gb18030"]


def _in_doubt(text: str, charset: str) -> bool:
    """Say whether the bytes that a browser would write for a query are not certain."""
    doubts = _DOUBTS.get(charset)
    if doubts is None or text.isascii():
        return False
    if doubts.search(text):
        return True
    return charset in ("cp932", "euc_jp", "iso2022_jp") and any(
        _is_extension(each, charset) for each in text if not each.isascii()
    )


def _is_extension(character: str, charset: str) -> bool:
    """Say whether only NEC's and IBM's rows have a character; the codecs disagree about them."""
    try:
        data = character.encode("cp932")
    except UnicodeEncodeError:
        return False
    return len(data) == 2 and (data[0] >= 0xED or (charset != "cp932" and data[0] == 0x87))


# Browsers read more of these charsets than they write (Encoding Standard 10 to 12): gbk without
# gb18030's four bytes, big5 without Hong Kong's rows, euc-jp without JIS X 0212.
_NARROWER = {"gbk": "gb18030", "big5hkscs": "big5hkscs", "euc_jp": "euc_jp"}
_EURO = {"gbk": b"\x80", "big5hkscs": b"\xa3\xe1"}


def _narrow(character: str, charset: str) -> bytes:
    """Encode one character as a browser does in a charset that it writes a part of."""
    if character.isascii():
        return character.encode("ascii")
    if character == "\u20ac" and charset in _EURO:
        return _EURO[charset]
    data = character.encode(_NARROWER[charset], "waypost-character-reference")
    if len(data) > 2 or (charset == "big5hkscs" and data[0] < 0xA1):
        return f"%26%23{ord(character)}%3B".encode("ascii")
    return data


def _character_reference(error: UnicodeError) -> tuple[str, int]:
    """Write a character that the charset lacks as browsers do: "&#n;", percent-encoded."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(f"%26%23{ord(each)}%3B" for each in missing), error.end


codecs.register_error("waypost-character-reference", _character_reference)


def _query(url: str) -> str:
    return url.partition("#")[0].partition("?")[2]

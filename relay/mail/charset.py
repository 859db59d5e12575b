"""Charset labels: what they mean, and whether markup can be found in their bytes.

Guarantees: the labels of the WHATWG Encoding Standard mean what they mean to a browser, others
what Python calls by that name; and each charset is sorted by how safely bytes of it can be
looked through and replaced:

- SINGLE and UTF8: a byte below 0x80 is always the ASCII character.
- MULTI: trailing bytes may look like letters, never like the characters of markup or URLs'
  borders (below 0x40 only digits), so valid text can be searched byte by byte.
- STATEFUL: ASCII bytes are ASCII only between escape sequences.
- WIDE: bytes are no ASCII at all, or not in any way worth searching.

Leaves to others: decoding of transfer encodings, which label holds, and what to do with text
that is not valid in its charset.
"""

import codecs
import encodings.aliases
import pkgutil
from dataclasses import dataclass
from encodings import normalize_encoding
from enum import Enum
from functools import lru_cache


class Kind(Enum):
    """How the bytes of a charset relate to ASCII; the module says what follows."""

    UTF8 = "utf-8"
    SINGLE = "single"
    MULTI = "multi"
    STATEFUL = "stateful"
    WIDE = "wide"


@dataclass(frozen=True, slots=True)
class Charset:
    """A charset: the Python codec that decodes it, and its kind.

    `writes` is set where browsers write URLs' queries in another one than they read.
    """

    codec: str
    kind: Kind
    writes: str = ""

    @property
    def query(self) -> str:
        """The charset that browsers write a URL's query in, by its codec's name."""
        return self.writes or self.codec


UTF8 = Charset("utf-8", Kind.UTF8)
WINDOWS_1252 = Charset("cp1252", Kind.SINGLE)

# codec -> labels that a browser takes for it and Python does not (Encoding Standard, 4.2)
_LABELS = {
    "utf-8": "unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf8 utf8mb4 x-unicode20utf8",
    "cp1252": (
        "ansi_x3.4-1968 ascii cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 iso88591 "
        "iso_8859-1 iso_8859-1:1987 l1 latin1 latin-1 us-ascii windows-1252 x-cp1252 iso646-us"
    ),
    "cp1250": "x-cp1250",
    "cp1251": "x-cp1251",
    "cp1253": "x-cp1253",
    "cp1254": "csisolatin5 iso-8859-9 iso-ir-148 iso8859-9 iso88599 iso_8859-9 l5 latin5 x-cp1254",
    "cp1255": "x-cp1255",
    "cp1256": "x-cp1256",
    "cp1257": "x-cp1257",
    "cp1258": "x-cp1258",
    "iso8859-8": "csiso88598e csiso88598i iso-8859-8-e iso-8859-8-i logical visual",
    "cp866": "csibm866",
    "cp874": "dos-874 iso-8859-11 iso8859-11 iso885911 tis-620 windows-874",
    "koi8-r": "cskoi8r koi koi8 koi8_r",
    "koi8-u": "koi8-ru",
    "mac-roman": "csmacintosh mac macintosh x-mac-roman",
    "mac-cyrillic": "x-mac-cyrillic x-mac-ukrainian",
    "gbk": (
        "chinese csgb2312 csiso58gb231280 gb2312 gb_2312 gb_2312-80 gbk iso-ir-58 x-gbk cp936 ms936"
    ),
    "big5hkscs": "big5 big5-hkscs cn-big5 csbig5 x-x-big5",
    "euc_jp": "cseucpkdfmtjapanese euc-jp x-euc-jp",
    "cp932": (
        "csshiftjis ms932 ms_kanji shift-jis shift_jis sjis windows-31j x-sjis x-ms-cp932 cp932"
    ),
    "cp949": (
        "cseuckr csksc56011987 euc-kr iso-ir-149 korean ks_c_5601-1987 ks_c_5601-1989 ksc5601 "
        "ksc_5601 windows-949"
    ),
    "iso2022_jp": "csiso2022jp iso-2022-jp",
}
_CODEC = {label: codec for codec, labels in _LABELS.items() for label in labels.split()}

_MULTI = frozenset(
    [
        *("gb18030", "gbk", "gb2312", "big5", "big5hkscs", "cp950", "cp949", "euc_kr", "cp932"),
        *("euc_jp", "euc_jis_2004", "euc_jisx0213"),
        *("shift_jis", "shift_jis_2004", "shift_jisx0213"),
    ]
)
_GBK = frozenset({"gbk", "gb2312"})
# "johab" is missing on purpose: its trailing bytes include "<", "=" and ">".
# Codecs of Python that are no charsets of mail: their text is written in ASCII escapes.
_NO_CHARSETS = {"idna", "punycode", "raw_unicode_escape", "unicode_escape", "undefined", "charmap"}
_PYTHON = frozenset(
    {module.name for module in pkgutil.iter_modules(encodings.__path__)}
    | set(encodings.aliases.aliases)
) - {name for name, codec in encodings.aliases.aliases.items() if codec in _NO_CHARSETS}
_PYTHON -= _NO_CHARSETS
_PROBE = bytes(range(0x20, 0x7F)) + b"\t\r\n"
_PROBE_TEXT = _PROBE.decode("ascii")


@lru_cache(maxsize=512)
def lookup(label: str) -> Charset | None:
    """Give the charset a label names, any case; None for a label that nobody knows."""
    wanted = label.strip().lower()
    if not wanted or len(wanted) > 64:
        return None
    if wanted not in _CODEC and normalize_encoding(wanted) not in _PYTHON:
        return None  # unasked: Python keeps every label it was ever asked for
    try:
        known = _CODEC.get(wanted, wanted)
        # what is called gbk is read as gb18030, and only written as itself
        info = codecs.lookup("gb18030" if known in _GBK else known)
    except (LookupError, ValueError):  # a NUL in the name is a ValueError
        return None
    if not info._is_text_encoding:
        return None
    name = info.name
    if name in {"utf-8", "utf-8-sig"}:
        return UTF8
    if name.startswith(("iso2022", "hz")):
        return Charset(name, Kind.STATEFUL)
    if name in _MULTI:
        return Charset(name, Kind.MULTI, "gbk" if known in _GBK else "")
    return Charset(name, Kind.SINGLE if _is_single(name) else Kind.WIDE)


def _is_single(codec: str) -> bool:
    """Say whether a codec reads ASCII as ASCII and every other byte as one character."""
    try:
        if _PROBE.decode(codec) != _PROBE_TEXT:
            return False
        texts = [bytes((byte, 0x41)).decode(codec, "replace") for byte in range(0x80, 0x100)]
        return all(len(text) == 2 and text[1] == "A" for text in texts)
    except (UnicodeError, LookupError, ValueError):
        return False


def decode(data: bytes, label: str) -> str:
    """Decode text for reading: never raises, an unknown label is read as UTF-8 or windows-1252."""
    found = lookup(label)
    if found is None:
        found = UTF8 if is_utf8(data) else WINDOWS_1252
    return data.decode(found.codec, "replace")


def is_utf8(data: bytes) -> bool:
    """Say whether bytes are valid UTF-8."""
    if data.isascii():
        return True
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True

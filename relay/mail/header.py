"""A message split into header fields and body by byte offsets.

Guarantees: any bytes can be read, nothing raises, time is linear in the header's size, and no
byte is copied or changed but where a function says so. What is irregular (a line without a
colon, a first line that continues nothing) is recorded as a defect, for the caller to judge.
Leaves to others: addresses, dates and everything else about the meaning of a field.

Grammar: RFC 5322 section 2.2 for fields, RFC 2045 section 5.1 and RFC 2231 for parameters,
RFC 2047 for display. Lines may end with CRLF or LF, since mail that comes back is read here too.
"""

import binascii
import re
from collections.abc import Callable, Iterator
from operator import attrgetter

import msgspec

MAX_FIELDS = 10_000
MAX_PARAMETERS = 64
MAX_COMMENT_DEPTH = 32

# A field with its continuation lines. The name is anything printable but the colon (RFC 5322
# 3.6.8); white space before the colon is obsolete syntax (4.5.8) that real mail still contains.
_FIELD = re.compile(
    rb"([!-9;-~]++)[ \t]*+:([^\r\n]*+(?>(?:\r(?!\n)[^\r\n]*+|\r?\n[ \t][^\r\n]*+)*))(\r?\n|\Z)"
)
_PLAIN_FIELD = re.compile(rb"([!-9;-~]++):([^\r\n]*+(?>(?:\r\n[ \t][^\r\n]*+)*))\r\n")
_FOLD = re.compile(rb"\r?\n(?=[ \t])")
_BLANK = re.compile(rb"\r?\n")
# A field may be written "From : name@domain" (RFC 5322 section 4.5): that is no mbox line.
_MBOX = re.compile(rb"From (?![ \t]*+:)[^\r\n]*+\r?\n")


class Field(msgspec.Struct, frozen=True):
    """One header field: `name` as written, raw folded `value`, and where it stands.

    `message[start:end]` is the whole field with its last line end.
    """

    name: bytes
    value: bytes
    start: int
    end: int

    @property
    def text(self) -> bytes:
        """The value unfolded and without white space around it."""
        return unfold(self.value)


_name: Callable[[Field], bytes] = attrgetter("name")


class Header(msgspec.Struct, frozen=True):
    """The header block of a message or part.

    `names` are those of `fields` in lower case, in the same order. `start` and
    `body_start` are offsets into the bytes that were split; `defects` holds
    "no-blank-line" (the header ended at a line that is no field, or at the end of the bytes),
    "bad-line" (the first of these two cases), "space-before-colon" (readers disagree whether that
    is a field) and "too-many-fields".
    """

    fields: tuple[Field, ...]
    names: tuple[bytes, ...]
    start: int
    body_start: int
    defects: tuple[str, ...] = ()

    def get(self, name: bytes) -> bytes | None:
        """Give the unfolded value of the first field of this name (any case), None without one."""
        names = self.names
        if name not in names and (name := name.lower()) not in names:
            return None
        return unfold(self.fields[names.index(name)].value)

    def all(self, name: bytes) -> list[Field]:
        """Give every field of this name (any case) in the order of the message."""
        names, wanted = self.names, name.lower()
        if wanted not in names:
            return []
        if names.count(wanted) == 1:
            return [self.fields[names.index(wanted)]]
        return [field for field, own in zip(self.fields, self.names, strict=True) if own == wanted]


def split(message: bytes, start: int = 0, end: int | None = None) -> Header:
    """Split `message[start:end]` into its fields and the offset where the body starts.

    The header ends behind the first empty line. A line that is no field ends it too, and is then
    the first line of the body; a leading mbox line ("From ") is passed over.
    """
    stop = len(message) if end is None else end
    at = start
    defects: list[str] = []
    if message.startswith(b"From ", at) and (mbox := _MBOX.match(message, at, stop)):
        at = mbox.end()
    fields: list[Field] = []
    match, add = _PLAIN_FIELD.match, fields.append
    for _ in range(MAX_FIELDS - 1):  # nearly all fields of all mail
        found = match(message, at, stop)
        if found is None:
            break
        name, value = found.group(1, 2)
        behind = found.end()
        add(Field(name, value, at, behind))
        at = behind
    match = _FIELD.match
    while at < stop:
        found = match(message, at, stop)
        if found is None:
            break
        if message[found.end(1)] != 0x3A and "space-before-colon" not in defects:
            defects.append("space-before-colon")
        name, value = found.group(1, 2)
        behind = found.end()
        add(Field(name, value, at, behind))
        at = behind
        if len(fields) == MAX_FIELDS:
            defects.append("too-many-fields")
            break
    blank = _BLANK.match(message, at, stop)
    if blank is not None:
        at = blank.end()
    else:
        defects.append("no-blank-line")
        if at < stop:
            defects.append("bad-line")
    names = tuple(map(bytes.lower, map(_name, fields)))
    return Header(tuple(fields), names, start, at, tuple(defects))


def without_mbox(message: bytes) -> bytes:
    """Give the message without the line that a mailbox file puts in front ("From ann Fri ...").

    It is no header field, and behind fields of ours the header would end there.
    """
    found = _MBOX.match(message) if message.startswith(b"From ") else None
    return message[found.end() :] if found else message


def unfold(value: bytes) -> bytes:
    """Join a folded value into one line (RFC 5322 section 2.2.3) and strip white space around."""
    if b"\n" in value:
        value = _FOLD.sub(b"", value)
    return value.strip(b" \t\r\n")


def remove(message: bytes, fields: list[Field]) -> bytes:
    """Give the message without these fields; everything else is the same bytes."""
    if not fields:
        return message
    kept: list[bytes] = []
    at = 0
    for field in sorted(fields, key=lambda each: each.start):
        kept.append(message[at : field.start])
        at = max(at, field.end)
    kept.append(message[at:])
    return b"".join(kept)


def prepend(message: bytes, lines: list[tuple[bytes, bytes]]) -> bytes:
    """Give the message with these (name, value) fields put before its first one.

    Raises ValueError for a name that is no field name and for a value with a line break that is
    not folding, or a NUL: a header is never built from text that could end it.
    """
    return b"".join([field_line(name, value) for name, value in lines]) + message


_NAME = re.compile(rb"[!-9;-~]+")
_VALUE = re.compile(rb"(?>(?:[^\r\n\0]++|\r\n[ \t])*)")


def field_line(name: bytes, value: bytes) -> bytes:
    """Give the line "name: value" with CRLF; raises ValueError if that would not be one field."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a header field name")
    if not _VALUE.fullmatch(value):
        raise ValueError(f"value of {name!r} would break the header: {value[:80]!r}")
    return name + b": " + value + b"\r\n"


# ------------------------------------------------------------------------------- parameters

_SEPARATORS = re.compile(rb"[; \t\r\n]*+")
_PARAMETER = re.compile(
    rb'([^\s=;"]++)[ \t\r\n]*+=[ \t\r\n]*+(?:"((?>(?:[^"\\]|\\[\s\S])*))"?|([^;]*+))'
)
_QUOTED_PAIR = re.compile(rb"\\([\s\S])")
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")


def parameters(value: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """Read a Content-Type or Content-Disposition value: the main value, and its parameters.

    Main value and parameter names come back in lower case; of a parameter given twice the first
    holds and the key b"!twice" names all such, with spaces between. RFC 2231 pieces (`name*0=`,
    `name*=`) are joined and percent-decoded; the charset they declare is dropped. Comments
    (RFC 2045) are passed over.
    """
    if b"\n" in value or b"\r" in value:
        value = unfold(value)
    if b"(" in value:
        value = strip_comments(value)
    main, semicolon, _ = value.partition(b";")
    found: dict[bytes, bytes] = {}
    pieces: dict[bytes, list[tuple[int, bool, bytes]]] = {}
    for name, text in _pairs(value, len(main)) if semicolon else ():
        base, star, rest = name.partition(b"*")
        if star:
            number, encoded = rest.rstrip(b"*"), rest.endswith(b"*") or not rest
            if number.isdigit() or not number:
                order = int(number) if number and len(number) < 5 else 0
                pieces.setdefault(base, []).append((order, encoded, text))
        elif name in found:
            found[b"!twice"] = (found.get(b"!twice", b"") + b" " + name).lstrip()
        else:
            found[name] = text
    for base, parts in pieces.items():
        if base in found:
            found[b"!twice"] = (found.get(b"!twice", b"") + b" " + base).lstrip()
        found[base] = _joined(parts)
    return main.strip().lower(), found


def _pairs(value: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
    """Give the parameters behind the main value; what is none is passed over to the next ";"."""
    found = 0
    while at < len(value) and found < MAX_PARAMETERS:
        separators = _SEPARATORS.match(value, at)
        at = separators.end() if separators else at
        match = _PARAMETER.match(value, at)
        if match is None:
            at = value.find(b";", at)
            if at < 0:
                return
            at += 1
            continue
        found += 1
        bare = match[3]
        text = _QUOTED_PAIR.sub(rb"\1", match[2]) if bare is None else bare.strip()
        yield match[1].lower(), text
        behind = value.find(b";", match.end())
        at = len(value) if behind < 0 else behind + 1


def _joined(parts: list[tuple[int, bool, bytes]]) -> bytes:
    """Join RFC 2231 pieces in the order of their numbers."""
    text: list[bytes] = []
    for place, (_, encoded, piece) in enumerate(sorted(parts, key=lambda each: each[0])):
        plain = piece
        if encoded:
            if place == 0 and plain.count(b"'") >= 2:
                plain = plain.split(b"'", 2)[2]
            plain = _PERCENT.sub(lambda hexed: bytes.fromhex(hexed[1].decode()), plain)
        text.append(plain)
    return b"".join(text)


_COMMENT_TOKEN = re.compile(rb'\\[\s\S]|[()"]|[^\\()"]++|\\')


def strip_comments(value: bytes) -> bytes:
    """Drop RFC 5322 comments outside quoted strings; a value with an unclosed one stays."""
    kept: list[bytes] = []
    depth = 0
    quoted = False
    for match in _COMMENT_TOKEN.finditer(value):
        token = match[0]
        if token == b'"' and not depth:
            quoted = not quoted
        elif not quoted and token == b"(":
            depth += 1
            if depth > MAX_COMMENT_DEPTH:
                return value
            continue
        elif not quoted and token == b")" and depth:
            depth -= 1
            continue
        if not depth:
            kept.append(token)
    return value if depth else b"".join(kept).strip()


# ---------------------------------------------------------------------------------- display

_ENCODED_WORD = re.compile(rb"=\?([!-<>@-~]{1,40})\?([BbQq])\?([ ->@-~]{0,200})\?=")
_BETWEEN_WORDS = re.compile(rb"(\?=)[ \t\r\n]+(?==\?)")


def display(value: bytes, limit: int = 998) -> str:
    """Decode a value with RFC 2047 words for people to read, at most `limit` characters.

    Never raises: what cannot be decoded stays as it stands, and control characters come out as
    U+FFFD so that the text can be shown, logged and stored.
    """
    text = unfold(value[: limit * 8])
    text = _BETWEEN_WORDS.sub(rb"\1", text)
    out: list[str] = []
    at = 0
    for match in _ENCODED_WORD.finditer(text):
        out.append(text[at : match.start()].decode("utf-8", "replace"))
        out.append(_word(match[1], match[2], match[3]) or match[0].decode("ascii", "replace"))
        at = match.end()
    out.append(text[at:].decode("utf-8", "replace"))
    shown = "".join(out)[:limit]
    return "".join(c if c.isprintable() or c == " " else "�" for c in shown)


def _word(charset: bytes, encoding: bytes, text: bytes) -> str | None:
    try:
        if encoding in b"Bb":
            raw = binascii.a2b_base64(text + b"=" * (-len(text) % 4))
        else:
            raw = binascii.a2b_qp(text, header=True)
        return raw.decode(charset.decode("ascii").partition("*")[0], "replace")
    except (ValueError, LookupError):  # binascii.Error is a ValueError
        return None

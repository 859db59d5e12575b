"""Where the report ends and the returned copy begins, and what the copy's header says.

Guarantees: linear in the text; the notice keeps everything up to the first line that can only be
the beginning of a copy. Header fields of the copy are as the reporter wrote them, so they link a
report to a delivery only together with a signature or an id of ours (`bounces.linking`).
"""

from __future__ import annotations

import re
from typing import Final

from bounces.anatomy import Fields, Mail, split
from bounces.report import NOTHING_RETURNED, Returned

COPY_TYPES: Final = (
    "message/rfc822",
    "text/rfc822-headers",
    "text/rfc822-header",
    "message/rfc822-headers",
    "message/global",
    "message/global-headers",
    "text/rfc822",
    "text/x-rfc822-headers",
)
# A line that says one of these, behind dashes and the like, announces the copy.
_IS: Final = r"is (?:attached|below|enclosed|included)"
_MESSAGE: Final = r"(?:message|mail|e-?mail)"
_KEPT: Final = "original|returned|unsent|bounced|enclosed|old"
_FATE: Final = f"{_KEPT}|undelivered|undeliverable|rejected|failed"
_MARKER = re.compile(
    r"(?:this|below(?: this line)?|here|the following|attached|included|following) is "
    r"(?:a copy of )?(?:the |an? )?"
    r"(?:copy|first|header|body|original|text of|beginning|returned|message (?:that|as|header))\b"
    r"|below this line is"
    rf"|(?:this is )?(?:a )?copy of (?:the |your )?(?:original )?{_MESSAGE}\b.{{0,60}}$"
    r"|a copy of the original message"
    r"|the (?:full )?(?:header|body|text|content)s? (?:of|for) (?:the|your) "
    rf"(?:original |returned )?{_MESSAGE}"
    rf"|(?:start of |the )?(?:{_FATE}) {_MESSAGE}"
    rf" (?:follows|header|text|body|content|headers|as follows|below|attached|{_IS})\b"
    r".{0,40}[ \t:.,*=_-]{0,80}$"
    rf"|(?:start of |the )?(?:{_KEPT}) {_MESSAGE}[ \t:.,*=_-]{{0,80}}$"
    rf"|{_MESSAGE} (?:headers?|text|body|contents?|source)"
    r"(?: (?:follows?|is|are|below|and body|of))?\b.{0,40}$"
    r"|headers? (?:of (?:the )?)?(?:original|message|from the original|follows?)\b"
    r"|(?:the )?first [\w ]{1,20} (?:lines|bytes|characters|kbytes|lines of)"
    rf"|your (?:original )?message (?:reads|follows|began|begins|header|text|{_IS})\b.{{0,40}}$"
    r"|original[- ]message\b.{0,30}$|unsent message follows|returned message"
    r"|begin (?:message|original)|forwarded message"
    r"|urspr(?:u|\u00fc)ngliche nachricht|message d'origine|message original"
    r"|en-t(?:e|\u00ea)tes? d|originalnachricht|mensaje original|messaggio originale"
    r"|mensagem original"
)
_FIRST_WORD = re.compile(
    rf"(?:this|below|here|the|attached|included|following|copy|a|start|{_FATE}|message|mail|e-?mail"
    r"|headers?|first|your|begin|forwarded|urspr(?:u|\u00fc)ngliche|originalnachricht|mensaje"
    r"|messaggio|mensagem|en-t(?:e|\u00ea)tes?)\b"
)
_ASIAN_MARKERS: Final = (
    "\u539f\u90ae\u4ef6\u5185\u5bb9",
    "\u539f\u4fe1",
    "\u539f\u59cb\u90ae\u4ef6",
    "\u5143\u306e\u30e1\u30c3\u30bb\u30fc\u30b8",
)
_MARKER_EDGE: Final = " \t>-=*_#+\u3000"
# A field of this name, followed by another field, is the beginning of a copied header.
_COPY_FIELD = re.compile(
    r"(?:received|return-path|dkim-signature|delivered-to|x-originating-ip|message-id|mime-version"
    r"|envelope-to|x-received|arc-seal):",
    re.IGNORECASE,
)
_NEXT_FIELD = re.compile(
    r"(?:received|from|to|date|subject|message-id|dkim-signature|mime-version|delivered-to"
    r"|x-[\w-]{2,40}|content-type|return-path|reply-to|sender|envelope-to|authentication-results|arc-[\w-]{2,40}):",
    re.IGNORECASE,
)
_FIELD_LINE = re.compile(r"^[ \t>]{0,4}[A-Za-z][\w-]{1,40}:[ \t]+\S", re.MULTILINE)


def cut(text: str) -> tuple[str, str]:
    """Split a text into the notice and what follows it (the copy, `""` if there is none).

    A marker in the very first lines is a heading of the notice, not its end.
    """
    at = 0
    spoken = False
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if spoken and line and (_is_marker(line) or _begins_header(line, lines, number)):
            return text[:at], text[at:]
        spoken = spoken or bool(line.strip())
        at += len(line) + 1
    return text, ""


def _is_marker(line: str) -> bool:
    bare = line.strip(_MARKER_EDGE)[:200].lower()
    if _FIRST_WORD.match(bare):
        return _MARKER.match(bare) is not None
    return not bare.isascii() and bare.startswith(_ASIAN_MARKERS) and len(bare) < 40


def _begins_header(line: str, lines: list[str], number: int) -> bool:
    if not _COPY_FIELD.match(line):
        return False
    for following in lines[number + 1 : number + 22]:
        if not following[:1].isspace():
            return _NEXT_FIELD.match(following) is not None
    return False


def read_returned(mail: Mail, copy: str) -> Returned:
    """Read the header of the returned copy: its MIME part, else the tail of the text."""
    part = mail.first(*COPY_TYPES)
    if part is not None:
        fields = _inner_fields(part.text.lstrip("\n"))
        if len(fields) > 1:
            return of_fields(fields)
    if copy:
        fields = _inner_fields(_from_first_field(copy))
        if len(fields) > 1:
            return of_fields(fields)
    return NOTHING_RETURNED


def _from_first_field(copy: str) -> str:
    found = _FIELD_LINE.search(copy)
    return copy[found.start() :] if found else ""


def _inner_fields(text: str) -> Fields:
    fields, rest = split(text[: 64 * 1024].encode("utf-8", "replace"))
    if len(fields) < 2 and rest:
        fields, _ = split(rest.lstrip(b"\n"))
    return fields


def of_fields(fields: Fields) -> Returned:
    """Pick the linking fields out of a header; the last Message-ID wins, reporters add theirs."""
    return Returned(
        message_id=message_id(fields.last("message-id")),
        feedback_id=fields.get("feedback-id")[:500],
        return_path=fields.get("return-path").strip("<> ")[:320],
        sender=fields.get("from")[:500],
        to=(fields.get("to") or fields.get("x-rcpt-to") or fields.get("delivered-to"))[:2000],
        subject=fields.get("subject")[:500],
        list_unsubscribe=fields.get("list-unsubscribe")[:2000],
        waypost=tuple(
            (n, fields.get(n)[:500]) for n in fields.names() if n.startswith("x-waypost-")
        )[:20],
    )


def message_id(value: str) -> str:
    """Give a Message-ID without its brackets, at most 250 characters."""
    start, end = value.find("<"), value.find(">")
    inner = value[start + 1 : end] if 0 <= start < end else value
    return "".join(inner.split())[:250]

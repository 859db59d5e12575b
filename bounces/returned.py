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
_MARKER = re.compile(
    r"^[ \t>]{0,8}(?:[-=*_#+]{2,}[ \t]*)?(?:"
    r"(?:this|below(?: this line)?|here|the following|attached|included) is (?:a copy of )?(?:the |an? )?"
    r"(?:copy|first|header|body|original|message|text|beginning|part|returned|mail)"
    r"|below this line is"
    r"|(?:this is a )?copy of (?:the |your )?(?:original )?(?:message|mail)\b.{0,60}$"
    r"|a copy of the original message"
    r"|the (?:header|body|text|content|full header)s? (?:of|for) (?:the|your) (?:original |returned )?(?:message|mail)"
    r"|(?:start of |the )?(?:original|returned|undelivered|undeliverable|unsent|rejected|failed|bounced|enclosed) "
    r"(?:message|mail|e-?mail)(?: (?:follows|header|text|body|content|headers|is|was|as follows|below|attached)\b.{0,40})?[ \t:.,*=_-]{0,80}$"
    r"|(?:message|mail) (?:headers?|text|body|contents?|source)(?: (?:follows?|is|are|below|and body|of))?\b.{0,40}$"
    r"|headers? (?:of (?:the )?)?(?:original|message|from the original|follows?)\b"
    r"|(?:the )?first [\w ]{1,20} (?:lines|bytes|characters|kbytes|lines of)"
    r"|your (?:original )?message (?:reads|follows|was|began|begins|header|text|is (?:attached|enclosed|below|included))\b.{0,40}$"
    r"|original[- ]message\b.{0,30}$|unsent message follows|returned message"
    r"|begin (?:message|original)|forwarded message"
    r"|ursprungliche nachricht|urspr\u00fcngliche nachricht|message d'origine|message original"
    r"|en-t\u00eates? d|originalnachricht|mensaje original|messaggio originale|mensagem original"
    r"|\u539f\u90ae\u4ef6|\u539f\u4fe1|\u539f\u59cb\u90ae\u4ef6|\u5143\u306e\u30e1\u30c3\u30bb\u30fc\u30b8|\u9001\u4fe1\u3055\u308c\u305f\u30e1\u30c3\u30bb\u30fc\u30b8"
    r")",
    re.I | re.MULTILINE,
)
_HEADER_BLOCK = re.compile(
    r"^(?:Received|Return-Path|DKIM-Signature|Delivered-To|X-Originating-IP|Message-ID|MIME-Version"
    r"|Envelope-To|X-Received|ARC-Seal):[ \t].*\n(?:[ \t]+.*\n){0,20}"
    r"(?:Received|From|To|Date|Subject|Message-ID|DKIM-Signature|MIME-Version|Delivered-To|X-[\w-]{2,40}"
    r"|Content-Type|Return-Path|Reply-To|Sender|Envelope-To):",
    re.I | re.MULTILINE,
)
_FIELD_LINE = re.compile(r"^[ \t>]{0,4}([A-Za-z][\w-]{1,40}):[ \t]+\S", re.MULTILINE)


def cut(text: str) -> tuple[str, str]:
    """Split a text into the notice and what follows it (the copy, `""` if there is none).

    A marker in the very first lines is a heading of the notice, not its end.
    """
    end = len(text)
    for found in _MARKER.finditer(text):
        if text[: found.start()].strip():
            end = found.start()
            break
    block = _HEADER_BLOCK.search(text)
    if block and text[: block.start()].strip():
        end = min(end, block.start())
    return text[:end], text[end:]


def read_returned(mail: Mail, copy: str) -> Returned:
    """Read the header of the returned copy: its MIME part, else the tail of the text."""
    part = mail.first(*COPY_TYPES)
    if part is not None:
        fields = _inner_fields(part.text.lstrip("\n"))
        if len(fields) > 1:
            return of_fields(fields)
    if copy:
        block = _HEADER_BLOCK.search(copy) or _FIELD_LINE.search(copy)
        if block:
            fields = _inner_fields(copy[block.start() :])
            if len(fields) > 1:
                return of_fields(fields)
    return NOTHING_RETURNED


def _inner_fields(text: str) -> Fields:
    fields, rest = split(text[: 64 * 1024].encode("utf-8", "replace"))
    if len(fields) < 2 and rest:
        fields, _ = split(rest.lstrip(b"\n"))
    return fields


def of_fields(fields: Fields) -> Returned:
    """Pick the linking fields out of a header. The last Message-ID wins (some reporters add one)."""
    return Returned(
        message_id=message_id(fields.last("message-id")),
        feedback_id=fields.get("feedback-id")[:500],
        return_path=fields.get("return-path").strip("<> ")[:320],
        sender=fields.get("from")[:500],
        to=(fields.get("to") or fields.get("x-rcpt-to") or fields.get("delivered-to"))[:2000],
        subject=fields.get("subject")[:500],
        list_unsubscribe=fields.get("list-unsubscribe")[:2000],
        waypost=tuple((n, fields.get(n)[:500]) for n in fields.names() if n.startswith("x-waypost-"))[:20],
    )


def message_id(value: str) -> str:
    """Give a Message-ID without its brackets, at most 250 characters."""
    start, end = value.find("<"), value.find(">")
    inner = value[start + 1 : end] if 0 <= start < end else value
    return "".join(inner.split())[:250]

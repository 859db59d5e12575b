"""Several mails in one file: the mbox form that mail programs and mailing list archives write.

Guarantees: gives every byte of the file to some mail, in order; a file that does not begin with a
`From ` line is one mail. A line is taken for a separator only with a blank line in front of it and
a time of day in it (RFC 4155 appendix A), so a sentence that begins with "From " is none; quoted
ones (`>From `) lose one quotation mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_SEPARATOR = re.compile(
    rb"(?:\A|(?<=\n\n)|(?<=\n\r\n))From [^\r\n]{0,300}\d:\d\d[^\r\n]{0,100}\r?\n"
)
_QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)
_FIRST: Final = b"From "


def mails_in(content: bytes) -> Iterator[bytes]:
    """Give the mails of a file, without their separators; a file of one mail as it is."""
    if content[:5] != _FIRST:
        yield content
        return
    begin = -1
    for found in _SEPARATOR.finditer(content):
        if begin >= 0:
            yield _unquoted(content[begin : found.start()])
        begin = found.end()
    yield _unquoted(content[begin:]) if begin >= 0 else content


def named(name: str, number: int) -> str:
    """Name the mail of a file: the first by the file itself, the second as `name#2`."""
    return name if number <= 1 else f"{name}#{number}"


def _unquoted(mail: bytes) -> bytes:
    return _QUOTED.sub(rb"\1", mail) if b">From " in mail else mail

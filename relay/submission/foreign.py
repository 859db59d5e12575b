"""Lines of other protocols, which end a connection.

Somebody made a browser, or a client of another protocol, talk to us: what follows could be a whole
SMTP dialogue in its body.
"""

import re

_METHODS = frozenset(b"GET POST PUT HEAD PATCH DELETE OPTIONS TRACE CONNECT PRI".split())
_REQUEST = re.compile(rb"(?:HTTP|RTSP|SIP|ICAP)/[0-9][0-9.]*", re.IGNORECASE)


def is_foreign(line: bytes) -> bool:
    """Tell whether a line that is no command of ours is one of another protocol, or a header."""
    word = line.partition(b" ")[0]
    last = line[-9:].rpartition(b" ")[2]
    return word.upper() in _METHODS or word[-1:] == b":" or _REQUEST.fullmatch(last) is not None

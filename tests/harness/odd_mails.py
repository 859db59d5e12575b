"""Contents that a careless relay changes on the way: dots, 8-bit bytes, the longest lines, control
characters, lines that look like commands; the same every time.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

_LINES = (
    b"",
    b".",
    b"..",
    b"...three",
    b".\t.",
    b"From the beginning",
    b" leading space",
    b"trailing space \t",
    b"\tTab",
    "Grüße aus Köln, 你好, \u2028 no line end".encode(),
    b"\x85\x0b\x0c odd controls",
    b"x" * 997,
    b"y" * 998,
    b"." + b"z" * 997,
    b"=3D soft=",
    b"QUIT",
    b"RSET",
)


def odd_mails(count: int) -> Iterator[tuple[str, bool, bytes]]:
    """Give (local part of the recipient, whether it needs SMTPUTF8, content with CRLF) of so many
    mails; the number of each stands in its Subject.
    """
    chance = random.Random(7)  # noqa: S311  # varied, not secret
    for number in range(count):
        lines = [chance.choice(_LINES) for _ in range(chance.randrange(0, 40))]
        head = b"Subject: %d\r\nFrom: <news@shop.test>\r\n\r\n" % number
        content = head + b"".join(line + b"\r\n" for line in lines)
        utf8 = number % 10 == 0
        yield (f"jörg{number}" if utf8 else f"r{number}"), utf8, content

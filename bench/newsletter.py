"""The mail that is measured: a newsletter with 25 links, the same octets every time, at a size
that can be chosen.

Guarantees: 7-bit, CRLF line ends, lines below 200 octets, no line that begins with a dot, so that
what the client sends needs no stuffing; exactly LINKS links in the HTML part, no unsubscribe
header of its own.
"""

from __future__ import annotations

LINKS = 25
_WORDS = [
    "spring",
    "offer",
    "garden",
    "chair",
    "table",
    "light",
    "wooden",
    "fresh",
    "delivery",
    "today",
    "member",
    "price",
    "choose",
    "colour",
    "size",
    "gift",
    "free",
    "return",
    "simple",
    "quality",
    "design",
    "home",
    "table",
    "lamp",
    "window",
    "evening",
    "summer",
]


def newsletter(domain: str, size: int, *, html: bool = True) -> bytes:
    """Write one of about `size` octets (within one line), with @NUMBER@ where its number
    goes.
    """
    head = [
        f"From: News <news@{domain}>",
        "To: Reader <reader@r.test>",
        "Subject: What is new in the garden this week",
        f"Message-ID: <@NUMBER@@{domain}>",
        "Date: Fri, 20 Nov 2026 10:00:00 +0000",
        "MIME-Version: 1.0",
        f"Content-Type: text/{'html' if html else 'plain'}; charset=utf-8",
        "Content-Transfer-Encoding: 7bit",
        "",
    ]
    body = ["<!DOCTYPE html>", "<html><body>", *_links()] if html else ["Hello,"]
    end = ["</body></html>", ""] if html else [""]
    missing = size - len("\r\n".join(head + body + end))
    return "\r\n".join([*head, *body, *_filler(missing, html=html), *end]).encode("ascii")


def numbered(template: bytes, number: int) -> bytes:
    """Give the newsletter with its own Message-ID; all numbers are equally long."""
    return template.replace(b"@NUMBER@", b"%012d" % number, 1)


def _links() -> list[str]:
    return [
        f'<p><a style="color:#336699" href="https://shop.test/garden/{_WORDS[n % len(_WORDS)]}/{n}'
        f'?utm_source=news&amp;utm_campaign=week47&amp;item={n * 7919}">{_word(n)}</a></p>'
        for n in range(LINKS)
    ]


def _filler(missing: int, *, html: bool) -> list[str]:
    lines = []
    number = 0
    while missing > 0:
        text = " ".join(_word(number * 5 + n) for n in range(9))
        line = f'<p class="text" style="margin:0">{text}</p>' if html else text
        lines.append(line)
        missing -= len(line) + 2
        number += 1
    return lines


def _word(number: int) -> str:
    return _WORDS[(number * 17 + number // 7) % len(_WORDS)]

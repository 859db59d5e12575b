"""Mail for a run, the same for the same seed: each message has an id in its Message-ID and in
every recipient.

Recipients are `<id>.<n>@<domain>`; the domain may name a fault of the sink. Contents differ in
size and shape, hold lines that begin with dots and lines of the greatest length, and have CRLF
line ends only.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_ID = re.compile(r"([a-z0-9]+-\d+)\.(\d+)@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One message to submit."""

    id: str
    sender: bytes
    recipients: tuple[bytes, ...]
    content: bytes

    @property
    def sha256(self) -> str:
        """Give the hash of the content as submitted."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """What a run's mail is like."""

    sending_domain: str = "shop.test"
    domains: Sequence[str] = ("sink.test",)  # recipient domains, taken in turn
    recipients: int = 1  # at most, of one message
    largest: int = 20_000  # octets of text, about
    html: bool = True


def mails(run: str, count: int, seed: int, mix: Mix | None = None) -> Iterator[Mail]:
    """Give `count` messages of a run; `run` (lower-case letters, digits) is part of every id."""
    mix = mix or Mix()
    chance = random.Random(seed)  # noqa: S311 - the same mail for the same seed is the point
    for number in range(count):
        name = f"{run}-{number}"
        recipients = tuple(
            f"{name}.{n}@{mix.domains[(number + n) % len(mix.domains)]}".encode()
            for n in range(chance.randint(1, mix.recipients))
        )
        yield Mail(
            id=name,
            sender=f"news@{mix.sending_domain}".encode(),
            recipients=recipients,
            content=_content(name, chance, mix),
        )


def recipient_id(address: str) -> tuple[str, int] | None:
    """Give the message id and number that a recipient's address holds."""
    found = _ID.match(address)
    return (found[1], int(found[2])) if found else None


def _content(name: str, chance: random.Random, mix: Mix) -> bytes:
    html = mix.html and chance.random() < 0.5
    lines = [
        f"From: News <news@{mix.sending_domain}>",
        "To: readers@sink.test",
        f"Subject: Message {name}",
        f"Message-ID: <{name}@{mix.sending_domain}>",
        "Date: Fri, 20 Nov 2026 10:00:00 +0000",
        "MIME-Version: 1.0",
        f"Content-Type: text/{'html' if html else 'plain'}; charset=utf-8",
        "Content-Transfer-Encoding: 7bit",
        "",
    ]
    size = 0
    wanted = chance.randrange(100, mix.largest)
    if html:
        lines.append("<html><body>")
    while size < wanted:
        line = _line(name, chance, html=html)
        lines.append(line)
        size += len(line)
    if html:
        lines.append("</body></html>")
    return "\r\n".join([*lines, ""]).encode("ascii")


def _line(name: str, chance: random.Random, *, html: bool) -> str:
    number = chance.randrange(1_000_000)
    match chance.randrange(8):
        case 0:
            return "." * chance.randint(1, 4)
        case 1:
            return f".hidden {number}"
        case 2 if html:
            return f'<p><a href="https://{name}.shop.test/p/{number}?a=1&amp;b=2">offer</a></p>'
        case 3:
            return "x" * 990
        case _:
            return f"Line {number} of {name}. " + "words and words " * chance.randint(0, 4)

"""The mails of the demo: varied on purpose, and the same for the same seed.

Shapes differ (plain text, one HTML part, alternatives, pictures inside, attachments), as do
transfer encodings, charsets, line lengths and sizes; links stand quoted, unquoted, with entities
and across soft breaks. All addresses are under `.test`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP

TRACKED = "news.shop.test"
UNTRACKED = "plain.shop.test"
RECIPIENT_DOMAINS = ("inbox.sandbox.test", "post.sandbox.test", "web.sandbox.test")
CAMPAIGNS = ("spring-sale", "weekly-letter")
TEMPLATES = ("hero", "digest")

# How often each part is played, in 100 recipients.
_PARTS = (
    ("accept", 46),
    ("open", 20),
    ("click", 14),
    ("unsubscribe", 4),
    ("bounce", 4),
    ("softbounce-later", 2),
    ("hardbounce-later", 3),
    ("complain", 3),
    ("defer1", 4),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One mail to submit: envelope, and the octets from the first header byte to the last of the
    body.
    """

    id: str
    sending_domain: str
    campaign: str
    template: str
    sender: str
    recipients: tuple[str, ...]
    content: bytes


def mails(count: int, seed: int = 1) -> Iterator[Mail]:
    """Give `count` mails; two in three are tracked, every tenth goes to several recipients."""
    chance = random.Random(seed)  # noqa: S311 - variety, not secrecy
    names = [name for name, weight in _PARTS for _ in range(weight)]
    number = 0
    for index in range(count):
        domain = UNTRACKED if index % 3 == 2 else TRACKED
        recipients = []
        for _ in range(3 if index % 10 == 9 else 1):
            number += 1
            part = chance.choice(names)
            if domain == UNTRACKED and part in ("open", "click", "unsubscribe"):
                part = "accept"  # nothing to open or to click where nothing is tracked
            recipients.append(f"{part}-{number}@{chance.choice(RECIPIENT_DOMAINS)}")
        campaign, template = chance.choice(CAMPAIGNS), chance.choice(TEMPLATES)
        id_ = f"<demo-{seed}-{index}@{domain}>"
        message = _SHAPES[index % len(_SHAPES)](chance, index)
        for at, inner in enumerate(message.walk()):
            if inner.is_multipart():
                inner.set_boundary(f"part-{index}-{at}")
        message["From"] = f"Shop <letters@{domain}>"
        message["To"] = ", ".join(recipients)
        message["Subject"] = chance.choice(
            ("Spring is here", "Ваша подборка", "春季特惠", "Café & croissants", "Your week")
        )
        message["Message-ID"] = id_
        message["Date"] = "Fri, 20 Nov 2026 09:00:00 +0000"
        message["X-Waypost-Campaign"] = campaign
        message["X-Waypost-Template"] = template
        yield Mail(
            id=id_,
            sending_domain=domain,
            campaign=campaign,
            template=template,
            sender=f"letters@{domain}",
            recipients=tuple(recipients),
            content=message.as_bytes(policy=SMTP),
        )


def _html(chance: random.Random, index: int, words: int = 120) -> str:
    links = [
        f'<a href="https://www.shop.test/item/{index}?a=1&amp;b={chance.randrange(1000)}">Look</a>',
        f"<a class=button href='https://www.shop.test/sale#part-{index}'>Sale</a>",
        f"<A HREF=https://www.shop.test/plain/{index}>Plain</A>",
        '<a href="mailto:help@shop.test">Write to us</a>',
        '<a href="#top">Top</a>',
        f'<a\n  href="https://www.shop.test/long/{"x" * chance.randrange(20, 160)}"\n>Long</a>',
    ]
    text = " ".join(chance.choice(_WORDS) for _ in range(words))
    chance.shuffle(links)
    return (
        '<!DOCTYPE html>\n<html><head><meta charset="utf-8"><title>Letter</title>\n'
        "<style>a{color:#036}</style></head>\n<body>\n"
        f"<h1>Letter {index}</h1>\n<p>{text}</p>\n" + "\n".join(links) + "\n</body></html>\n"
    )


_WORDS = (
    "spring",
    "letter",
    "offer",
    "garden",
    "münze",
    "книга",
    "优惠",
    "today",
    "éclair",
    "&amp;",
)


def _plain(chance: random.Random, index: int) -> EmailMessage:
    message = EmailMessage()
    text = " ".join(chance.choice(_WORDS) for _ in range(80))
    message.set_content(f"Letter {index}\n\n{text}\n.a line that starts with a dot\n")
    return message


def _quoted_printable(chance: random.Random, index: int) -> EmailMessage:
    message = EmailMessage()
    message.set_content(_html(chance, index), subtype="html", cte="quoted-printable")
    return message


def _seven_bit(chance: random.Random, index: int) -> EmailMessage:
    message = EmailMessage()
    text = _html(chance, index).encode("ascii", "xmlcharrefreplace").decode("ascii")
    lines = text.replace("</p>", "</p>\n").replace(" ", "\n", 60)
    message.set_content(lines, subtype="html", cte="7bit")
    return message


def _eight_bit(chance: random.Random, index: int) -> EmailMessage:
    message = EmailMessage()
    lines = _html(chance, index).replace(" ", "\n", 60)
    message.set_content(lines, subtype="html", cte="8bit")
    return message


def _alternative(chance: random.Random, index: int) -> EmailMessage:
    message = _plain(chance, index)
    message.add_alternative(_html(chance, index, 400), subtype="html", cte="quoted-printable")
    return message


def _with_picture(chance: random.Random, index: int) -> EmailMessage:
    message = _plain(chance, index)
    html = _html(chance, index).replace("<h1>", '<img src="cid:logo@shop.test" alt=""><h1>')
    message.add_alternative(html, subtype="html", cte="quoted-printable")
    related = message.get_payload()[1]  # type: ignore[index]
    related.add_related(  # type: ignore[union-attr]
        bytes(chance.randrange(256) for _ in range(900)), "image", "png", cid="<logo@shop.test>"
    )
    return message


def _with_attachment(chance: random.Random, index: int) -> EmailMessage:
    message = _alternative(chance, index)
    page = f'<a href="https://www.shop.test/attached/{index}">not to be touched</a>'
    message.add_attachment(page, subtype="html", filename="page.html")
    message.add_attachment(
        chance.randbytes(20_000), maintype="application", subtype="pdf", filename="list.pdf"
    )
    return message


_SHAPES = (
    _quoted_printable,
    _alternative,
    _seven_bit,
    _plain,
    _with_picture,
    _eight_bit,
    _with_attachment,
)

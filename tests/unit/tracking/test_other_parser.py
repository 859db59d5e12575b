"""F04: where we change a message, a MIME parser in C agrees about the part: where its body begins
and ends, its encoding, its charset. Where two readers may differ a message has to stay as it is.

The other reader is maildrop's `reformime`. Over the whole corpus, where it is present, and over
mails of our own with borders that readers are known to take differently.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from relay.mail import mime
from relay.mail.mime import Part, walk
from tests.harness.programs import need_program
from tests.harness.tracked import html_message, multipart, page, plan_of

ROOT = Path(__file__).parents[3]
CORPUS = Path(os.environ.get("WAYPOST_CORPORA", ROOT.parent / "shared" / "corpora")) / "mails"
PAGE = page('<a href="https://shop.test/x">x</a>').encode()
PART = b"Content-Type: text/html; charset=utf-8\r\n\r\n" + PAGE
VERSION = b"MIME-Version: 1.0\r\n"
AS_IT_IS = {"", "7bit", "8bit", "binary"}  # encodings that encode nothing
PLAIN = b"Content-Type: text/plain\r\n\r\nhello\r\n"
OWN = {
    "one part": html_message(PAGE),
    "quoted-printable": html_message(PAGE, "quoted-printable"),
    "base64": html_message(PAGE, "base64"),
    "latin": html_message(page('<a href="https://shop.test/x">é</a>'), charset="iso-8859-1"),
    "alternative": multipart("alternative", PLAIN, PART),
    "boundary with space": multipart("mixed", PLAIN, PART).replace(b"--b\r\n", b"--b \t\r\n"),
    "preamble": multipart("mixed", PLAIN, PART).replace(b"\r\n\r\n--b", b"\r\n\r\nHi\r\n--b", 1),
    "epilogue": multipart("mixed", PLAIN, PART) + b"after\r\n--b\r\n" + PART,
    "no end": multipart("mixed", PLAIN, PART).removesuffix(b"--b--\r\n"),
    "header folded": html_message(PAGE).replace(b"; charset", b";\r\n\tcharset"),
    "comment": html_message(PAGE).replace(b"text/html", b"text/html (really)"),
    "two types": html_message(PAGE, extra=b"Content-Type: text/plain\r\n"),
}


@dataclass(frozen=True, slots=True)
class Section:
    """A part as the other parser sees it."""

    start: int
    end: int
    content_type: str
    encoding: str
    charset: str


def sections(message: bytes) -> list[Section]:
    """Ask the other parser; it reads MIME only where a field says that it is, as no reader does."""
    reformime = need_program("reformime")
    said = subprocess.run(
        [reformime, "-i"], input=VERSION + message, capture_output=True, check=True
    )
    found = []
    for block in said.stdout.decode("utf-8", "replace").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "starting-pos-body" in fields:
            found.append(
                Section(
                    int(fields["starting-pos-body"]) - len(VERSION),
                    int(fields["ending-pos"]) - len(VERSION),
                    fields.get("content-type", "").lower(),
                    fields.get("content-transfer-encoding", "").lower(),
                    fields.get("charset", "").lower(),
                )
            )
    return found


def changed_parts(message: bytes) -> list[Part]:
    """Give the parts that would be changed in this message."""
    plan = plan_of(message)
    if plan.skipped:
        return []
    places = [hole.start for hole in plan.holes] + [part.start for part in plan.parts]
    return [
        part
        for part in walk(message).parts
        if not part.children and any(part.body_start <= at <= part.end for at in places)
    ]


def disagreements(message: bytes) -> list[str]:
    """Say where the two parsers differ over what would be changed."""
    parts = changed_parts(message)
    if not parts:
        return []
    theirs, said = sections(message), []
    for part in parts:
        same = [one for one in theirs if one.start == part.body_start]
        if not same:
            said.append(f"nothing begins at {part.body_start}: {[one.start for one in theirs]}")
            continue
        one = same[-1]
        if one.content_type != part.content_type:
            said.append(f"it is {one.content_type}, not {part.content_type}")
        if one.encoding != part.encoding and not {one.encoding, part.encoding} <= AS_IT_IS:
            said.append(f"it is in {one.encoding}, not {part.encoding}")
        if part.charset and one.charset != part.charset.lower():
            said.append(f"its charset is {one.charset}, not {part.charset}")
        if message[min(one.end, part.end) : max(one.end, part.end)].strip(b"\r\n"):
            said.append(f"it ends at {one.end}, not {part.end}")
    return said


@pytest.mark.parametrize("name", OWN)
def test_own_mails(name: str) -> None:
    assert disagreements(OWN[name]) == []


def test_where_the_two_are_known_to_differ() -> None:
    """A line that only begins like the delimiter ends a part for the other parser: it must not
    stand in a part at all (RFC 2046 section 5.1.1), and for us it is text.
    """
    message = multipart("mixed", PLAIN, PART + b"--bb\r\nnot ours\r\n")
    (said,) = disagreements(message)
    assert said.startswith("it ends at ")


def test_control_a_parser_that_ends_a_part_too_early_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The end of a part's last line is no longer its own."""
    honest = mime._Walker.leave
    monkeypatch.setattr(
        mime._Walker, "leave", lambda self, at, place: honest(self, at - len(b"</html>\r\n"), place)
    )
    (said,) = disagreements(OWN["alternative"])
    assert said.startswith("it ends at ")


def test_enough_of_them_are_changed() -> None:
    """Else they would agree about nothing."""
    assert sum(bool(changed_parts(message)) for message in OWN.values()) > len(OWN) / 2


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no corpus at {CORPUS}")
def test_every_mail_of_the_corpus() -> None:
    found = {}
    for file in sorted(CORPUS.glob("mails/*")):
        message = file.read_bytes()
        whole = message if message.endswith(b"\n") else message + b"\r\n"  # as SMTP ends it
        if said := disagreements(whole):
            found[file.name] = said
    assert found == {}

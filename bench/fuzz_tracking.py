"""Fuzz the tracking of messages: no bytes raise, none take long, and the readings agree.

    python bench/fuzz_tracking.py [--seconds 60] [CORPUS_FOLDER]

Coverage-guided (atheris) over the MIME walker, the transfer encodings, both readings of HTML, the
plan, its rendering and the token decoder. Each input is taken as a message, as HTML and as a
token. A run ends after the given time with status 0; an exception, a broken promise, or an input
that takes a minute ends it with the input kept (a busy machine may starve a run for seconds).
Bounded: memory by the input size, time by `--seconds`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-untyped]  # ships no types
import msgspec

with atheris.instrument_imports(include=["tracking", "relay.mail"]):
    from relay.mail import header, mime, transfer
    from relay.mail.keyring import KeyRing
    from tracking import placement
    from tracking.offline import BASE_URL, HOST, IDENTITY, RING, rewrite
    from tracking.plan import Plan, Switches, compile_plan
    from tracking.render import render
    from tracking.scan import scan
    from tracking.text import text_links
    from tracking.tokens import BadTokenError, Mint, read
    from tracking.urls import BadDestinationError, destination, judge

MAX_INPUT = 64 * 1024
OTHER_RING = KeyRing.of(b"another secret of thirty-two byte")
HEAD = b"MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: "
ENCODINGS = (b"8bit", b"quoted-printable", b"base64")
SEEDS = (
    b"<html><head><title>t</title></head><body><a href='https://h.test/?a&amp;b'>x</a></body></html>",
    b"<table><tr><td><a href=https://h.test/ clicktracking=off>x</a></td></tr></table><p>y",
    b"<!--[if mso]><v:roundrect href='https://h.test/'><![endif]--><svg><title><a href=x></svg>",
    b"<script><!--<script></script>--></script><select><option><a href='https://h.test/'></select>",
    b'<a href=3D"https://h.=\r\ntest/">x</a>=3D=\r\n',
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
    b"Content-Type: text/html\r\n\r\n<a href='https://h.test/'>x</a>\r\n--b--\r\n",
    b"Content-Type: multipart/signed; boundary*0=a; boundary*1=b\r\n\r\n--ab\r\n\r\n--ab--\r\n",
)


def one_input(data: bytes) -> None:
    """Check what is promised of any bytes."""
    readers(data)
    message(data)
    for encoding in ENCODINGS:
        message(HEAD + encoding + b"\r\n\r\n" + data)
    html(data)
    token(data)


def readers(data: bytes) -> None:
    """No bytes are refused by the readers."""
    header.display(data[:2000])
    header.parameters(data[:2000])
    tree = mime.walk(data, into_messages=True)
    for part in tree.parts:
        if not part.start <= part.body_start <= part.end <= len(data):
            raise AssertionError(f"part {part.path} lies outside of the message")
    for encoding in ("quoted-printable", "base64"):
        transfer.decode(data, encoding)
    text_links(data)
    judge(data.decode("utf-8", "surrogateescape"), (), ())


def message(data: bytes) -> None:
    """A plan survives storing, takes everything back, and rewriting twice is rewriting once."""
    switches = Switches(opens=True, clicks=True, plain_text=True)
    plan = compile_plan(data, switches, base_url=BASE_URL, rewrite_signed=True)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(plan), type=Plan)
    mint = Mint(RING, HOST)
    whole = b"".join(render(data, again, mint, IDENTITY, opens=True, clicks=True))
    if plan.skipped and whole != data:
        raise AssertionError(f"changed although {plan.skipped}")
    for opens, clicks in ((True, False), (False, True)):
        render(data, plan, mint, IDENTITY, opens=opens, clicks=clicks)
    if b"".join(render(data, plan, mint, IDENTITY, opens=False, clicks=False)) != data:
        raise AssertionError("changed although both switches are off")
    once = rewrite(data)
    if rewrite(once) != once:
        raise AssertionError("tracked twice")


def html(data: bytes) -> None:
    """Where the quick reading decides, the exact one finds the same links."""
    quick = scan(data, 0, len(data), outlook=True)
    exact = placement.read(data, 0, len(data), outlook=True)
    if quick.unusual or quick.over_budget or exact.over_budget or quick.pixel < 0:
        return
    if quick.anchors != [found.anchor for found in exact.anchors]:
        raise AssertionError("the readings differ")


def token(data: bytes) -> None:
    """Nothing but a token of this ring is read, and no field of a destination breaks a header."""
    text = data.decode("latin-1")
    try:
        read(text, HOST, OTHER_RING)
    except BadTokenError:
        pass
    else:
        raise AssertionError("a token that nobody signed was read")
    try:
        found = destination(data)
    except BadDestinationError:
        return
    if any(not 0x20 <= byte <= 0x7E for byte in found.location):
        raise AssertionError(f"Location {found.location!r}")


def main() -> None:
    """Run the fuzzer for a bounded time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("corpus", nargs="?", help="a folder to keep interesting inputs in")
    arguments = parser.parse_args()
    folder = Path(arguments.corpus or tempfile.mkdtemp(prefix="fuzz-tracking-"))
    folder.mkdir(exist_ok=True)
    for number, seed in enumerate(SEEDS):
        (folder / f"seed-{number}").write_bytes(seed)
    command = [
        sys.argv[0],
        f"-max_total_time={arguments.seconds}",
        f"-max_len={MAX_INPUT}",
        "-timeout=60",
        "-rss_limit_mb=1024",
        f"-artifact_prefix={folder}/",
        str(folder),
    ]
    atheris.Setup(command, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

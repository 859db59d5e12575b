"""What tracking costs: plan and render of a newsletter, and how the worst inputs grow.

    python -m bench.stage_tracking [--growth]

The first table is CPU milliseconds per 40 KB newsletter with 25 links, by transfer encoding. With
--growth a second one gives the plan's CPU milliseconds for inputs made to be slow, at 64 KB, 256 KB
and 1 MB: linear work grows by four from column to column, quadratic by sixteen.
"""

from __future__ import annotations

import argparse
import binascii
import time
from collections.abc import Callable

from bench.newsletter import newsletter
from relay.mail.transfer import encode_base64
from tracking.offline import BASE_URL, HOST, IDENTITY, RING
from tracking.plan import Switches, compile_plan
from tracking.render import render
from tracking.tokens import Kind, Mint

SWITCHES = Switches(opens=True, clicks=True)
SIZE = 40_000
FIELDS = (
    b"From: news@shop.test\r\nTo: ann@inbox.test\r\nSubject: news\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: "
)
WORST = {
    "anchors that never end": b"<a ",
    "anchors": b"<a href=https://h.test/>",
    "attributes that never end": b'<a href="x',
    "comments that never end": b"<!--",
    "comments": b"<!---->",
    "Outlook's comments": b"<!--[if mso]><a <![endif]-->",
    "text with <": b"< ",
    "end tags": b"</p>",
    "divs": b"<div>",
    "tables": b"<table><tr><td>",
    "forms in divs": b"<div><form>",
    "lists": b"<ul><li>",
    "svg": b"<svg><g></g>",
    "selects": b"<select><option>",
    "scripts": b"<script><!--<script>",
    "merge tags": b"<a href='https://h.test/{{%a'>",
}


def cpu_ms(work: Callable[[], object], times: int) -> float:
    """Give CPU milliseconds per call, the least of nine rounds."""
    work()
    best = float("inf")
    for _ in range(9):
        start = time.process_time()
        for _ in range(times):
            work()
        best = min(best, (time.process_time() - start) / times * 1000)
    return best


def messages() -> dict[str, bytes]:
    """Give the same newsletter in each transfer encoding."""
    html = newsletter("shop.test", SIZE).partition(b"\r\n\r\n")[2]
    return {
        "8bit": FIELDS + b"8bit\r\n\r\n" + html,
        "quoted-printable": FIELDS
        + b"quoted-printable\r\n\r\n"
        + binascii.b2a_qp(html, istext=True),
        "base64": FIELDS + b"base64\r\n\r\n" + encode_base64(html) + b"\r\n",
    }


def costs() -> None:
    """Print the cost of plan and render."""
    mint = Mint(RING, HOST)
    print(f"{'':18}{'bytes':>8}{'links':>7}{'plan ms':>10}{'render ms':>11}{'tokens ms':>11}")
    for name, message in messages().items():
        planning, rendering, signing = (cpu_ms(work, 30) for work in works(message, mint))
        plan = compile_plan(message, SWITCHES, base_url=BASE_URL)
        print(
            f"{name:18}{len(message):8}{len(plan.links):7}"
            f"{planning:10.3f}{rendering:11.3f}{signing:11.3f}"
        )


def works(message: bytes, mint: Mint) -> tuple[Callable[[], object], ...]:
    """Give the three things that are measured of a message."""
    plan = compile_plan(message, SWITCHES, base_url=BASE_URL)
    links = list(enumerate(plan.links))

    def planning() -> object:
        return compile_plan(message, SWITCHES, base_url=BASE_URL)

    def rendering() -> object:
        return b"".join(render(message, plan, mint, IDENTITY, opens=True, clicks=True))

    def signing() -> object:
        return mint.heads(Kind.CLICK, IDENTITY, links)

    return planning, rendering, signing


def growth() -> None:
    """Print how the cost of bad inputs grows."""
    sizes = (64 * 1024, 256 * 1024, 1024 * 1024)
    print(
        f"\n{'plan ms for':28}" + "".join(f"{size // 1024:>8} KB" for size in sizes) + "  outcome"
    )
    for name, unit in WORST.items():
        row: list[float] = []
        outcome = ""
        for size in sizes:
            line = unit * (900 // len(unit)) + b"\r\n"
            message = FIELDS + b"8bit\r\n\r\n" + line * (size // len(line))
            start = time.process_time()
            plan = compile_plan(message, SWITCHES, base_url=BASE_URL)
            row.append((time.process_time() - start) * 1000)
            outcome = plan.skipped or "tracked"
        print(f"{name:28}" + "".join(f"{each:11.1f}" for each in row) + f"  {outcome}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--growth", action="store_true")
    costs()
    if parser.parse_args().growth:
        growth()


if __name__ == "__main__":
    main()

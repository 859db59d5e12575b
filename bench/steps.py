"""The cost of stages in steps of the interpreter: figures that no busy machine can move.

    python -m bench.steps [--keep]

A stage is one call on the route of a 40 KB newsletter with 25 links. Its cost is the number of
bytecode instructions that it executes, counted by tracing: the same on every machine with the same
Python. Work inside C (searching, hashing, signing) is one step whatever it does: `bench/stage_*.py`
measure that. `--keep` writes the counts of this Python to bench/steps.json, which a test compares.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from bench.newsletter import newsletter, numbered
from bench.stage_departure import route as campaign
from bench.stage_ingress import ENVELOPE, LIMITS, OPTIONS
from bounces import verp
from metrics.events import decode
from relay.acceptance.headers import received
from relay.clock import SECOND
from relay.delivery.attempt import of_giving_up
from relay.delivery.dkim import Signer, sign_all
from relay.delivery.dkim_keys import generate
from relay.delivery.schedule import Schedule
from relay.departure.settlement import settle
from relay.mail.header import split
from relay.message import Delivery, Message, State
from relay.submission.engine import Engine
from relay.submission.events import ContentWanted
from relay.submission.verbs import VERBS
from tracking.offline import BASE_URL, HOST, IDENTITY, RING
from tracking.plan import Readings, Switches, compile_plan
from tracking.render import render
from tracking.tokens import Mint

KEPT = Path(__file__).with_name("steps.json")
SWITCHES = Switches(opens=True, clicks=True)
AT = 1_790_000_000 * SECOND


def stages() -> dict[str, Callable[[], object]]:
    """Give the stages by name, each ready to be called again and again."""
    template = newsletter("shop.test", 40_000)
    mail = numbered(template, 1)
    head, _, body = mail.partition(b"\r\n\r\n")
    plan = compile_plan(mail, SWITCHES, base_url=BASE_URL)
    known, mint = Readings(), Mint(RING, HOST)
    signer = Signer("shop.test", "s1", generate("rsa"))
    delivery, message = _delivery(), _message()
    outcome = of_giving_up(delivery.id)
    schedule = Schedule()
    route, numbers = campaign(40_000), itertools.count()
    stored = settle(delivery, message, outcome, schedule, AT, "node").settlement.events[0]
    return {
        "dialogue": _dialogue(mail),
        "header": lambda: split(mail),
        "trace": lambda: received(
            hostname="mx.test", helo="a.test", protocol="ESMTP", message=7 << 32, at=AT
        ),
        "plan": lambda: compile_plan(mail, SWITCHES, base_url=BASE_URL),
        "plan of a known part": lambda: compile_plan(
            mail, SWITCHES, base_url=BASE_URL, known=known
        ),
        "render": lambda: render(mail, plan, mint, IDENTITY, opens=True, clicks=True),
        "plan and departure in a campaign": lambda: route.depart(route.plan(next(numbers))),
        "return path": lambda: verp.mint(7 << 32, 1, "bounce.test", RING),
        "sign": lambda: sign_all((signer,), head + b"\r\n", body, at=AT // SECOND),
        "settle": lambda: settle(delivery, message, outcome, schedule, AT, "node"),
        "event": lambda: decode(stored),
    }


def steps(work: Callable[[], object]) -> int:
    """Count the bytecode instructions of one call, after two that warm what is kept."""
    work()
    work()
    count = 0

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def python() -> str:
    """Name the Python whose counts these are: another minor version counts differently."""
    return ".".join(platform.python_version_tuple()[:2])


def _dialogue(mail: bytes) -> Callable[[], object]:
    engine = Engine(OPTIONS, LIMITS, VERBS)
    engine.feed(b"EHLO client.test\r\n")
    engine.next_event()
    engine.take_output()

    def one() -> None:
        for data in (ENVELOPE % (len(mail), 1), mail + b".\r\n"):
            engine.feed(data)
            while (event := engine.next_event()) is not None:
                engine.answer(b"354 Go" if type(event) is ContentWanted else b"250 2.0.0 Fine")
            engine.take_output()

    return one


def _delivery() -> Delivery:
    return Delivery(
        id=7 << 32,
        message=6 << 32,
        recipient=b"ann@inbox.test",
        recipient_domain="inbox.test",
        destination="inbox.test",
        account=1,
        campaign="spring",
        sending_domain="shop.test",
        state=State.CLAIMED,
        not_before=AT,
        starts_at=AT,
    )


def _message() -> Message:
    return Message(
        id=6 << 32, account=1, accepted_at=AT, settings_version=1, sending_domain="shop.test"
    )


def main() -> None:
    """Print the counts, or keep them."""
    parser = argparse.ArgumentParser(prog="python -m bench.steps")
    parser.add_argument("--keep", action="store_true", help="write bench/steps.json")
    options = parser.parse_args()
    counts = {name: steps(work) for name, work in stages().items()}
    for name, count in counts.items():
        print(f"{name:34}{count:8}")
    if options.keep:
        kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
        kept[python()] = counts
        KEPT.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()

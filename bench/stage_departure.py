"""What a tracked and signed mail costs between the door and the socket: plan, departure, checks.

    python -m bench.stage_departure [--size 40000] [--rounds 9] [--profile]

CPU milliseconds of one thread per message of a campaign: the same newsletter again and again, each
with its own number, RSA-2048 signed, with our own List-Unsubscribe. "Bare signature" is RSA alone.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from bench.newsletter import newsletter, numbered
from relay.clock import SECOND
from relay.delivery.commands import check_content
from relay.delivery.dkim_keys import generate, store_private
from relay.delivery.outgoing import Outgoing
from relay.departure.depart import Departure
from relay.departure.signers import Signers
from relay.message import Delivery, Message, State
from relay.settings import Account, DkimKey, SendingDomain, Settings, Switch
from tracking.offline import RING
from tracking.packed import pack
from tracking.plan import Readings, Switches
from tracking.reading import Packed

AT = 1_790_000_000 * SECOND
BASE_URL = "https://t.relay.test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The three stops, ready to be called again and again."""

    plan: Callable[[int], Message]
    depart: Callable[[Message], Outgoing]
    check: Callable[[Outgoing], bytes]
    bare: Callable[[], object]


def route(size: int) -> Route:
    """Set up the stops for a newsletter of this many octets."""
    key = generate("rsa")
    sealed = DkimKey(selector="r1", algorithm="rsa", sealed=store_private(key))
    domain = SendingDomain(id=7, account=1, name="shop.test", unsubscribe=True, dkim=(sealed,))
    account = Account(id=1, name="shop", opens=Switch.ON, clicks=Switch.ON)
    settings = Settings(accounts={1: account}, domains={"shop.test": domain})
    departure = Departure(
        settings=lambda: settings,
        suppressed=lambda _delivery, _message: "",
        signers=Signers(lambda _domain, key: key.sealed),
        keyring=RING,
        clock=lambda: AT,
        tracking_url=BASE_URL,
        return_path="bounce.relay.test",
        sender_id="node1waypost",
    )
    template = newsletter("shop.test", size)
    known = Readings()
    contents: dict[int, bytes] = {}

    def plan(number: int) -> Message:
        content = contents[number] = numbered(template, number)
        switches = Switches(opens=True, clicks=True)
        made = pack(content, switches, base_url=BASE_URL, known=known)
        return message(number, len(content), made)

    def depart(mail: Message) -> Outgoing:
        made = departure.depart(delivery(mail.id), mail, contents.pop(mail.id))
        if not isinstance(made, Outgoing):
            raise TypeError(made)
        return made

    return Route(
        plan=plan,
        depart=depart,
        check=lambda mail: check_content(mail.content, clean=mail.clean),
        bare=lambda: key.sign(b"x", PKCS1v15(), SHA256()),  # type: ignore[call-arg]
    )


def message(number: int, size: int, plan: Packed) -> Message:
    """Give the message as acceptance stores it."""
    return Message(
        id=number,
        account=1,
        accepted_at=AT,
        settings_version=1,
        sending_domain="shop.test",
        sending_domain_id=7,
        sender=b"news@shop.test",
        trace=b"Received: from app.test by relay.test with ESMTP id 0abc;\r\n"
        b"\tFri, 20 Nov 2026 10:00:00 +0000\r\n",
        campaign="spring",
        size=size,
        opens=True,
        clicks=True,
        plan=plan.data,
        plan_at=plan.at,
        unsubscribe=True,
    )


def delivery(message_id: int) -> Delivery:
    """Give its one delivery."""
    return Delivery(
        id=message_id + (1 << 32),
        message=message_id,
        recipient=b"reader@r.test",
        recipient_domain="r.test",
        destination="smarthost",
        account=1,
        campaign="spring",
        sending_domain="shop.test",
        state=State.CLAIMED,
        not_before=AT,
        starts_at=AT,
    )


def measure(stops: Route, first: int, mails: int) -> list[float]:
    """Give milliseconds per mail of plan, departure, checks and bare signature."""
    clock = time.thread_time
    spent = [0.0, 0.0, 0.0, 0.0]
    for number in range(first, first + mails):
        began = clock()
        mail = stops.plan(number)
        planned = clock()
        made = stops.depart(mail)
        left = clock()
        stops.check(made)
        checked = clock()
        stops.bare()
        signed = clock()
        for at, value in enumerate(
            (planned - began, left - planned, checked - left, signed - checked)
        ):
            spent[at] += value
    return [each / mails * 1000 for each in spent]


def main() -> None:
    """Print the least and the median of the rounds."""
    parser = argparse.ArgumentParser(prog="python -m bench.stage_departure")
    parser.add_argument("--size", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--mails", type=int, default=150)
    parser.add_argument("--profile", action="store_true", help="calls by their own time, too")
    options = parser.parse_args()
    stops = route(options.size)
    measure(stops, 0, 20)
    rows = [measure(stops, (n + 1) * 100_000, options.mails) for n in range(options.rounds)]
    names = ("plan", "departure", "checks", "bare signature")
    middle = len(rows) // 2
    for at, name in enumerate(names):
        column = sorted(row[at] for row in rows)
        print(f"{name:16} least {column[0]:.3f}  median {column[middle]:.3f} ms")
    route_ms = sorted(sum(row[:3]) - row[3] for row in rows)
    print(f"{'all without RSA':16} least {route_ms[0]:.3f}  median {route_ms[middle]:.3f} ms")
    if options.profile:
        profile = cProfile.Profile()
        profile.runcall(measure, stops, 90_000_000, 500)
        pstats.Stats(profile).sort_stats("tottime").print_stats(40)


if __name__ == "__main__":
    main()

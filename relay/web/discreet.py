"""What is left of a hit where a sending domain does not keep everything.

Guarantees: without address, the client's address and user agent never leave the process that took
the request: the hit is judged there by itself, and only the judgement and the platform's name
travel. Sums only: the delivery does not travel either, and the moment is rounded down to the
quarter of an hour that is counted, so that nothing leads back to a recipient. The ledger keeps no
row for such a hit; unique counts do not exist for it.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec.structs import replace

from metrics.events import Event, Hit, Kind
from tracking import machines, platforms

_QUARTER = 900_000_000  # microseconds; the cubes' finest interval
_KINDS = {Kind.OPENED: "open", Kind.CLICKED: "click"}


class Privacy(StrEnum):
    """How much a sending domain keeps of hits."""

    FULL = "full"
    NOADDRESS = "noaddress"
    AGGREGATE = "aggregate"


def without_address(event: Event) -> Event:
    """Give a hit without address and user agent, judged by itself instead."""
    hit = event.hit
    if hit is None:
        return event
    said = machines.classify(_alone(event, hit), ())
    return replace(
        event,
        hit=replace(
            hit,
            user_agent="",
            address="",
            judged=said.kind,
            platform=platforms.read(hit.user_agent).system,
        ),
    )


def sum_only(event: Event, sending_domain: str) -> Event:
    """Give a hit that can be counted and leads to no delivery; it says itself whose it is."""
    at = event.at - event.at % _QUARTER
    return replace(without_address(event), delivery=0, sending_domain=sending_domain, at=at)


def _alone(event: Event, hit: Hit) -> machines.Hit:
    return machines.Hit(
        at=event.at,
        kind=_KINDS[event.kind],
        delivery=event.delivery,
        link=hit.link,
        method=hit.method,
        user_agent=hit.user_agent,
        address=hit.address,
        headers={"purpose": hit.purpose} if hit.purpose else {},
    )

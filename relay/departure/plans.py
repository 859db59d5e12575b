"""The plans of the mails that are under way, read once for all mails of a campaign.

Guarantees: a plan is what `tracking.packed.unpack` gives for these octets, without the decisions,
which are for people and change nothing in a mail. What is kept is bounded (`tracking/kept.py`) by
the octets it holds, packed and read; the plan of a mail full of links is read again for each.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from tracking.kept import MAX_OCTETS, Kept, held
from tracking.packed import unpack
from tracking.plan import Plan
from tracking.splice import Hole

_OFFSETS = 2 * 28  # octets of a start and an end


class Plans:
    """The plans of one worker."""

    def __init__(self, max_octets: int = MAX_OCTETS) -> None:
        """`max_octets` bounds what is kept."""
        self._kept: Kept[bytes, Plan] = Kept(max_octets)

    @property
    def octets(self) -> int:
        """Give how much is held."""
        return self._kept.octets

    def get(self, packed: bytes) -> Plan:
        """Give the plan that was packed so."""
        plan = self._kept.get(packed)
        if plan is None:
            plan = replace(unpack(packed), decisions=[])
            if self._kept.fits(len(packed)):
                self._kept.keep(packed, plan, held((packed, *_objects(plan))) + _offsets(plan))
        return plan


def _holes(plan: Plan) -> Iterator[list[Hole]]:
    yield plan.holes
    for part in plan.parts:
        yield part.holes


def _objects(plan: Plan) -> Iterator[object]:
    """Give what a plan consists of, but for the offsets."""
    yield from (plan, plan.host, plan.links, plan.parts)
    yield from plan.links
    yield from plan.parts
    for holes in _holes(plan):
        yield holes
        for hole in holes:
            yield from (hole, hole.before, hole.after)


def _offsets(plan: Plan) -> int:
    return _OFFSETS * (sum(map(len, _holes(plan))) + 2 * len(plan.parts))

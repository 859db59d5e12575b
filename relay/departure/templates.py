"""Which mails share a template: found by plan and size, made at the second such mail, bounded.

Guarantees: a template is given only for the very same octets and plan. What is kept is bounded
(`tracking/kept.py`) by the octets it holds: plan, part, and all that is made of them. Mails that
look alike and are not, as those that greet each recipient by name, cost a comparison each and now
and then a template in vain.
"""

from __future__ import annotations

from relay.departure.template import Template, make
from tracking.kept import MAX_OCTETS, Kept, held
from tracking.plan import Plan

_PATIENCE = 32  # other mails in a row after which a template gives way
_SAMPLE = 24

_Key = tuple[bytes, bool, bool, int, bytes]


class _Place:
    """What is kept under a key: first only that it was seen, then a template or that there is
    none.
    """

    __slots__ = ("made", "missed", "template")

    def __init__(self) -> None:
        self.made = False
        self.missed = 0
        self.template: Template | None = None


class Templates:
    """The templates of one worker."""

    def __init__(self, max_octets: int = MAX_OCTETS) -> None:
        """`max_octets` bounds what is kept."""
        self._kept: Kept[_Key, _Place] = Kept(max_octets)

    @property
    def octets(self) -> int:
        """Give how much is held."""
        return self._kept.octets

    def get(
        self,
        content: bytes,
        at: int,
        size: int,
        packed: bytes,
        plan: Plan | None,
        *,
        opens: bool,
        clicks: bool,
    ) -> Template | None:
        """Give the template of the part `content[at:at + size]`, None where there is none (yet).

        `packed` is the plan as it is stored, `plan` as it was meant; None where there is none.
        """
        kept = self._kept
        if not kept.fits(size + len(packed)) or content[at - 2 : at] != b"\r\n":
            return None
        key = (packed, opens, clicks, size, content[at : at + _SAMPLE])
        place = kept.get(key)
        if place is None:
            kept.keep(key, _Place(), held(key))
            return None
        if not place.made:
            self._make(key, place, content[at : at + size], plan)
        template = place.template
        if template is None:
            return None
        if content.startswith(template.body, at):
            place.missed = 0
            return template
        place.missed += 1
        if place.missed >= _PATIENCE:
            kept.drop(key)
        return None

    def _make(self, key: _Key, place: _Place, body: bytes, plan: Plan | None) -> None:
        """Make a place's template, unless it would hold too much."""
        _, opens, clicks, _, _ = key
        place.made = True
        made = make(body, plan, opens=opens, clicks=clicks)
        if made is None:
            return
        octets = held(key) + made.octets()
        if self._kept.fits(octets):
            place.template = made
            self._kept.keep(key, place, octets)

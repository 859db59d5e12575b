"""Which mails share a template: found by plan and size, made at the second such mail, bounded.

Guarantees: a template is given only for the very same octets and plan. What is kept is bounded in
octets and in number, the least recently used goes first. Mails that look alike and are not, as
those that greet each recipient by name, cost a comparison each and now and then a template in vain.
"""

from __future__ import annotations

from collections import OrderedDict

from relay.departure.template import Template, make
from tracking.plan import Plan

_MAX_OCTETS = 8 * 1024 * 1024  # of bodies; a template takes up to three times its body
_MAX_PLACES = 300
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

    def __init__(self, max_octets: int = _MAX_OCTETS) -> None:
        """`max_octets` bounds the bodies that are kept."""
        self._limit = max_octets
        self._places: OrderedDict[_Key, _Place] = OrderedDict()
        self.octets = 0

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
        if size > self._limit // 4 or content[at - 2 : at] != b"\r\n":
            return None
        key = (packed, opens, clicks, size, content[at : at + _SAMPLE])
        place = self._places.get(key)
        if place is None:
            self._places[key] = _Place()
            self._bound()
            return None
        self._places.move_to_end(key)
        if not place.made:
            place.made = True
            body = content[at : at + size]
            place.template = make(body, plan, opens=opens, clicks=clicks)
            self.octets += _octets(place)
            self._bound()
        template = place.template
        if template is None:
            return None
        if content.startswith(template.body, at):
            place.missed = 0
            return template
        place.missed += 1
        if place.missed >= _PATIENCE:
            self._drop(key)
        return None

    def _bound(self) -> None:
        while len(self._places) > _MAX_PLACES or self.octets > self._limit:
            self._drop(next(iter(self._places)))

    def _drop(self, key: _Key) -> None:
        self.octets -= _octets(self._places.pop(key))


def _octets(place: _Place) -> int:
    return len(place.template.body) if place.template else 0

"""Readings of parts kept for the messages that come next: those of a campaign often have the same.

Guarantees: a reading is given out only for the very same bytes, type, encoding, charset and rules
as it was made for, compared and not hashed. What is kept is bounded (`kept.py`) by the octets it
holds: body, reading, and what is added to a reading later, counted when it is added.
"""

from functools import partial

from relay.mail.mime import Part
from tracking.kept import MAX_OCTETS, Kept, held
from tracking.reading import Reading, Rules

_SAMPLE = 48

_Key = tuple[int, bytes, bytes, bytes, str, str, str, Rules]


class Readings:
    """What is known; belongs to one thread."""

    def __init__(self, max_octets: int = MAX_OCTETS) -> None:
        """`max_octets` bounds what is kept."""
        self._kept: Kept[_Key, tuple[bytes, Reading]] = Kept(max_octets)

    @property
    def octets(self) -> int:
        """Give how much is held."""
        return self._kept.octets

    def __len__(self) -> int:
        """Count the readings."""
        return len(self._kept)

    def get(self, body: bytes, part: Part, rules: Rules) -> Reading | None:
        """Give the reading of a part with this body, None where there is none."""
        found = self._kept.get(_key(body, part, rules))
        if found is None or found[0] != body:
            return None
        return found[1]

    def keep(self, body: bytes, part: Part, rules: Rules, reading: Reading) -> None:
        """Keep a reading; it takes the place of one that only looks alike."""
        if not self._kept.fits(len(body)):
            return
        key = _key(body, part, rules)
        unsubscribe = rules.unsubscribe  # all other rules are the settings'
        octets = held((key, *key, unsubscribe, *unsubscribe)) + reading.octets()
        reading.grown = partial(self._grow, key, body)
        self._kept.keep(key, (body, reading), octets)

    def _grow(self, key: _Key, body: bytes, octets: int) -> None:
        """Count what was added to a reading, if it is still the one that is kept."""
        found = self._kept.get(key)
        if found is not None and found[0] is body:
            self._kept.add(key, octets)


def _key(body: bytes, part: Part, rules: Rules) -> _Key:
    """Give a name that is quick to make: hashing a whole body costs more than comparing two."""
    size = len(body)
    middle = size // 2
    return (
        size,
        body[:_SAMPLE],
        body[middle : middle + _SAMPLE],
        body[-_SAMPLE:],
        part.content_type,
        part.encoding,
        part.charset,
        rules,
    )

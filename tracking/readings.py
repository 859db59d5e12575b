"""Readings of parts kept for the messages that come next: those of a campaign often have the same.

Guarantees: a reading is given out only for the very same bytes, type, encoding, charset and rules
as it was made for, compared and not hashed; what is kept is bounded in octets and in number, and
the least recently used goes first.
"""

from collections import OrderedDict

from relay.mail.mime import Part
from tracking.reading import Reading, Rules

_MAX_OCTETS = 8 * 1024 * 1024
_MAX_READINGS = 200
_SAMPLE = 48

_Key = tuple[int, bytes, bytes, bytes, str, str, str, Rules]


class Readings:
    """What is known; belongs to one thread."""

    def __init__(self, max_octets: int = _MAX_OCTETS) -> None:
        """`max_octets` bounds the bodies that are kept."""
        self._limit = max_octets
        self._known: OrderedDict[_Key, tuple[bytes, Reading]] = OrderedDict()
        self.octets = 0

    def __len__(self) -> int:
        """Count the readings."""
        return len(self._known)

    def get(self, body: bytes, part: Part, rules: Rules) -> Reading | None:
        """Give the reading of a part with this body, None where there is none."""
        key = _key(body, part, rules)
        found = self._known.get(key)
        if found is None or found[0] != body:
            return None
        self._known.move_to_end(key)
        return found[1]

    def keep(self, body: bytes, part: Part, rules: Rules, reading: Reading) -> None:
        """Keep a reading; it takes the place of one that only looks alike."""
        if len(body) > self._limit // 4:
            return
        key = _key(body, part, rules)
        before = self._known.pop(key, None)
        if before is not None:
            self.octets -= len(before[0])
        self._known[key] = (body, reading)
        self.octets += len(body)
        while self.octets > self._limit or len(self._known) > _MAX_READINGS:
            _, (oldest, _) = self._known.popitem(last=False)
            self.octets -= len(oldest)


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

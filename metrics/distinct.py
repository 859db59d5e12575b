"""Distinct recipients: sketches that can be merged; the one door to datasketches.

A sketch takes at most 8 KiB whatever it has seen, is exact in effect for small sets, and its union
with others is off by `RELATIVE_ERROR` (one standard deviation) for large ones: below 2 % in 98 of
100 cases. Adding somebody twice changes nothing, so sketches may be fed again after a crash.
"""

from __future__ import annotations

from collections.abc import Iterable

from datasketches import hll_sketch, hll_union, tgt_hll_type  # type: ignore[import-untyped]

_LOG2_SLOTS = 14
RELATIVE_ERROR = 1.04 / 2 ** (_LOG2_SLOTS / 2)
"""0.8 %: what HyperLogLog promises with 2**14 slots."""
EXACT_UPTO = 1000
"""Below this a sketch keeps every hash; the chance that two fall together is under 1 in 100."""


def add_to(sketch: bytes | None, keys: Iterable[int]) -> bytes:
    """Give a sketch with these recipients added; None is the empty sketch."""
    found = (
        hll_sketch.deserialize(sketch)
        if sketch is not None
        else hll_sketch(_LOG2_SLOTS, tgt_hll_type.HLL_4)
    )
    for key in keys:
        found.update(key)
    return bytes(found.serialize_updatable())


def merged(sketches: Iterable[bytes]) -> bytes:
    """Give one sketch of everybody in some sketches."""
    union = Crowd()
    for sketch in sketches:
        union.add_sketch(sketch)
    return union.sketch()


class Crowd:
    """Counts distinct recipients over sketches and single keys.

    Most crowds of an answer are one sketch: such a one is counted as it is, without the union that
    costs more than all the rest.
    """

    __slots__ = ("_first", "_keys", "_union")

    def __init__(self) -> None:
        """Start with nobody."""
        self._first: bytes | None = None
        self._union: hll_union | None = None
        self._keys: set[int] = set()

    def add_sketch(self, sketch: bytes) -> None:
        """Add everybody in a sketch."""
        if self._first is None:
            self._first = sketch
        else:
            self._united().update(hll_sketch.deserialize(sketch))

    def add(self, keys: Iterable[int]) -> None:
        """Add recipients by key."""
        self._keys.update(keys)

    def count(self) -> int:
        """Give the number of distinct recipients, estimated for large crowds."""
        if self._first is None:
            return len(self._keys)
        if self._union is None and not self._keys:
            return int(hll_sketch.deserialize(self._first).get_estimate() + 0.5)
        return int(self._all().get_estimate() + 0.5)

    def sketch(self) -> bytes:
        """Give a sketch of everybody."""
        return bytes(self._all().get_result(tgt_hll_type.HLL_4).serialize_updatable())

    def packed(self) -> bytes:
        """Give a sketch that counts and unites as this crowd does, larger and quicker to read."""
        if self._first is not None and self._union is None and not self._keys:
            return self._first
        return bytes(self._all().get_result(tgt_hll_type.HLL_8).serialize_compact())

    def _united(self) -> hll_union:
        if self._union is None:
            self._union = hll_union(_LOG2_SLOTS)
            if self._first is not None:
                self._union.update(hll_sketch.deserialize(self._first))
        return self._union

    def _all(self) -> hll_union:
        union = self._united()
        for key in self._keys:
            union.update(key)
        return union

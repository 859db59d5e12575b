"""Cells of a facet as columns of numbers, so that a thousand values add up in one step; the one
door to numpy.

A block holds what one mailing counted on one day under each value of a facet. Blocks of the same
facet share a list of the values' names, so that adding them up compares numbers and not texts.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_Numbers = NDArray[np.int64] | NDArray[np.int32]


class Names:
    """The values of a facet by number, in order of appearance; only ever grows."""

    def __init__(self) -> None:
        """Start without any."""
        self._lock = threading.Lock()
        self._numbers: dict[str, int] = {}
        self.texts: list[str] = []

    def __len__(self) -> int:
        return len(self.texts)

    def of(self, texts: Iterable[str]) -> list[int]:
        """Give the numbers of values; new ones get the next."""
        with self._lock:
            for text in (wanted := list(texts)):
                if text not in self._numbers:
                    self._numbers[text] = len(self.texts)
                    self.texts.append(text)
            return [self._numbers[text] for text in wanted]


class Block(NamedTuple):
    """The values (by number) of a cell and, by measure, what was counted; zeros are not kept."""

    values: NDArray[np.int32]
    columns: Mapping[str, _Numbers]

    @property
    def size(self) -> int:
        """Give the bytes it takes, about."""
        return 200 + self.values.nbytes + sum(100 + one.nbytes for one in self.columns.values())


def block(names: Names, measures: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> Block:
    """Make a block of rows: a value, then a number for each of the measures."""
    if not rows:
        return Block(np.zeros(0, np.int32), {})
    values, *columns = zip(*rows, strict=True)
    kept: dict[str, _Numbers] = {}
    for measure, numbers in zip(measures, columns, strict=True):
        if any(numbers):
            column = np.array(numbers, np.int64)
            small = np.abs(column).max() < 1 << 31
            kept[measure] = column.astype(np.int32) if small else column
    return Block(np.array(names.of(values), np.int32), kept)


def added_up(
    names: Names, measures: Sequence[str], blocks: Sequence[Block], few: Sequence[str] | None
) -> Iterator[tuple[str, dict[str, int]]]:
    """Give the sums by value over some blocks, for values that are in any; of `few` alone where
    given."""
    size = len(names) if few is None else 0
    wanted = None
    if few is not None:
        wanted = np.array(sorted(set(names.of(few))), np.int64)
        size = len(names)
    there = np.zeros(size, np.bool_)
    sums = {measure: np.zeros(size, np.int64) for measure in measures}
    for one in blocks:
        there[one.values] = True  # a block names a value once, so adding by index is safe
        for measure, total in sums.items():
            column = one.columns.get(measure)
            if column is not None:
                total[one.values] += column
    shown = np.flatnonzero(there) if wanted is None else wanted[there[wanted]]
    columns = [sums[measure][shown].tolist() for measure in measures]
    for number, *numbers in zip(shown.tolist(), *columns, strict=True):
        yield names.texts[number], dict(zip(measures, numbers, strict=True))

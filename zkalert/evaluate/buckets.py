"""The full buckets of a moving window, oldest first, and what all of them add.

The numbers of a window stand side by side in memory, a row for each bucket. As an object each, those of a thousand
windows lie all over the memory, and whoever asks one window after the other waits for them most of the time.
"""

from __future__ import annotations

import functools
import math
import struct
from array import array
from bisect import bisect_left, insort
from collections.abc import Callable
from typing import TypeAlias

Row: TypeAlias = "tuple[float, ...]"
"""What samples add to a statistic: as many numbers as it needs."""

First: TypeAlias = "tuple[float, float, float]"
"""Of the first sample of a bucket the time, the value, and the seconds before it that no sample spoke for."""

Last: TypeAlias = "tuple[float, float, float]"
"""Of the last sample of a bucket the time, the value, and until when it speaks at most."""

Ends: TypeAlias = "tuple[float, float, float, float, float, float]"
"""Both sides of a window's start: the `Last` of the bucket that left it last (its edge), the `First` of the oldest."""

EDGE_AT, EDGE_VALUE, EDGE_END, FIRST_AT, FIRST_VALUE, FIRST_SILENT = range(6)


@functools.cache
def _numbers(count: int) -> struct.Struct:
    """So many of them, side by side; all windows share it."""
    return struct.Struct(f"{count}d")


_NO_EDGE: Last = (-math.inf, 0.0, -math.inf)
_NUMBER = _numbers(1)
_LAST = _numbers(3)
_ENDS = _numbers(6)


class _Rows:
    """A queue of rows: of each bucket its `First`, what it adds, its `Last`.

    Before the oldest one stands the edge, which is the `Last` of a row that has left. `due` is the time of the last
    sample of the oldest bucket, infinite where there is none.
    """

    __slots__ = ("_bytes", "_row", "due")

    def __init__(self, width: int) -> None:
        self._row = _numbers(3 + width + 3)
        self._bytes = bytearray(_LAST.pack(*_NO_EDGE))  # drops its first bytes without moving all others
        self.due = math.inf

    def __len__(self) -> int:
        return len(self._bytes) // self._row.size

    def ends(self, first: First) -> Ends:
        """Both sides of the window's start, at `first` where there is no bucket."""
        if self.due == math.inf:
            return (*_LAST.unpack(self._bytes), *first)
        return _ENDS.unpack_from(self._bytes)

    def _append(self, row: Row) -> None:
        self._bytes += self._row.pack(*row)
        if self.due == math.inf:
            self.due = row[-3]

    def _drop(self) -> None:
        rows, size = self._bytes, self._row.size
        del rows[:size]
        self.due = _NUMBER.unpack_from(rows, size)[0] if len(rows) > size else math.inf


class Folded(_Rows):
    """Buckets that know the fold of what they add, by an associative `combine` (older first) that has no inverse.

    A queue made of two stacks, one behind the other. Rows of the older one, which ends at `_split`, have the fold of
    what they and all younger ones in it add; those of the younger one have what they add alone, and `_younger` is the
    fold of all these. Where the older one runs out, the younger one is made the next.
    """

    __slots__ = ("_added", "_combine", "_split", "_younger")

    def __init__(self, combine: Callable[[Row, Row], Row], width: int) -> None:
        """`width`: how many numbers a bucket adds."""
        super().__init__(width)
        self._combine = combine
        self._added = _numbers(width)
        self._split = 0  # bytes
        self._younger: Row | None = None

    def push(self, first: First, added: Row, last: Last) -> None:
        """Take the next bucket."""
        self._append((*first, *added, *last))
        self._younger = added if self._younger is None else self._combine(self._younger, added)

    def pop(self) -> None:
        """Drop the oldest."""
        if not self._split:
            self._turn()
        self._split -= self._row.size
        self._drop()

    def fold(self, newest: Row) -> Row:
        """What all of them and `newest` add."""
        if self._younger is not None:
            newest = self._combine(self._younger, newest)
        if self._split:
            newest = self._combine(self._added.unpack_from(self._bytes, _ENDS.size), newest)
        return newest

    def _turn(self) -> None:
        rows, added, combine, size = self._bytes, self._added, self._combine, self._row.size
        place, oldest = len(rows) - _LAST.size - added.size, _ENDS.size
        folded = added.unpack_from(rows, place)
        while place > oldest:
            place -= size
            folded = combine(added.unpack_from(rows, place), folded)
            added.pack_into(rows, place, *folded)
        self._split = size * len(self)
        self._younger = None


class Ranked(_Rows):
    """Buckets that add a value each, which are kept in order of size too; their fold is a percentile."""

    __slots__ = ("_percentile", "_ranked")

    def __init__(self, percentile: float) -> None:
        super().__init__(1)
        self._percentile = percentile
        self._ranked = array("d")

    def push(self, first: First, added: Row, last: Last) -> None:
        """Take the next bucket."""
        self._append((*first, *added, *last))
        insort(self._ranked, added[0])

    def pop(self) -> None:
        """Drop the oldest."""
        del self._ranked[bisect_left(self._ranked, _NUMBER.unpack_from(self._bytes, _ENDS.size)[0])]
        self._drop()

    def fold(self, newest: Row) -> Row:
        """Between two ranks the value is taken on the straight line, as numpy does by default ("linear")."""
        ranked = self._ranked
        place = bisect_left(ranked, newest[0])
        ranked.insert(place, newest[0])
        rank = (len(ranked) - 1) * self._percentile / 100
        below = math.floor(rank)
        low, high = ranked[below], ranked[math.ceil(rank)]
        del ranked[place]
        return (low + (high - low) * (rank - below),)

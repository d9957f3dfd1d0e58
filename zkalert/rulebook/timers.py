"""When series need a look although no sample came: a heap, with one entry that counts for each series."""

from __future__ import annotations

import heapq
import itertools
from typing import NamedTuple, TypeAlias

Key: TypeAlias = "tuple[str, str, str | None, bool]"
"""Rule, host, instance; and whether it is for want of samples."""

_SPARE = 64


class Timer(NamedTuple):
    """A look that is due at `due` (this process's clock).

    `ticket` decides between timers of one moment, so that nothing behind it is compared.
    """

    due: float
    ticket: int
    key: Key


class Timers:
    """The first moment at which each series needs a look. One that comes too early is set again by who looks."""

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self._first: dict[Key, float] = {}
        self._tickets = itertools.count()

    def set(self, key: Key, due: float) -> None:
        """Look at a series at `due` at the latest."""
        first = self._first.get(key)
        if first is not None and first <= due:
            return
        self._first[key] = due
        heapq.heappush(self._heap, Timer(due, next(self._tickets), key))
        if len(self._heap) > 2 * len(self._first) + _SPARE:
            # Moments that crept forward: where two clocks drift apart, a far one does with every sample.
            self._heap = [timer for timer in self._heap if self._first.get(timer.key) == timer.due]
            heapq.heapify(self._heap)

    def pop(self, mono: float) -> Timer | None:
        """Take out the first timer that is due at `mono`."""
        while self._heap and self._heap[0].due <= mono:
            timer = heapq.heappop(self._heap)
            if self._first.get(timer.key) == timer.due:
                del self._first[timer.key]
                return timer
        return None

    def clear(self) -> None:
        self._heap.clear()
        self._first.clear()

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def next_at(self) -> float | None:
        return self._heap[0].due if self._heap else None

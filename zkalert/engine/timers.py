"""When pending alerts need a look although no sample came: a heap, whose stale entries are skipped as they come up."""

from __future__ import annotations

import heapq
import itertools
from typing import NamedTuple

from zkalert.lifecycle import deadline
from zkalert.model import Alert, Rule


class Timer(NamedTuple):
    """A look that is due at `due` (this process's clock), if the alert is still in that episode.

    `ticket` decides between timers of one moment, so that nothing behind it is compared.
    """

    due: float
    ticket: int
    rule: str
    host: str
    instance: str | None
    episode: str


class Timers:
    """The timers of all alerts; an alert may have several, of which the last one counts."""

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self._tickets = itertools.count()

    def set(self, rule: Rule, alert: Alert) -> None:
        """Note when an alert needs a look, if it does."""
        due = deadline(rule, alert)
        if due is not None:
            timer = Timer(due, next(self._tickets), alert.rule, alert.host, alert.instance, alert.episode)
            heapq.heappush(self._heap, timer)

    def pop(self, mono: float) -> Timer | None:
        """Take out the first timer that is due at `mono`."""
        return heapq.heappop(self._heap) if self._heap and self._heap[0].due <= mono else None

    def clear(self) -> None:
        self._heap.clear()

    @property
    def next_at(self) -> float | None:
        return self._heap[0].due if self._heap else None

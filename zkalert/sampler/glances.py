"""When cheap families are read between their ticks, so that a crossing need not wait for the next one.

Comes in: the monotonic time, and what each reading cost. Goes out: the families to read now. A family that turns out
to be dear (process tables can be long) is read less often, so that its glances never cost more than a share of a core.
"""

from __future__ import annotations

import math
from collections.abc import Collection

CHEAP = ("memory_usage", "cpu_usage", "load_average", "process_number")
"""Families of gauges that the kernel answers at once. No counters: a rate is one of a whole interval."""

SHARE = 0.01
"""Of one core, that the glances at one family may cost."""
_LATEST = 0.8  # of the old cost; the rest is the last reading's
_TOGETHER = 0.005


class Glances:
    """Which families are due for a glance; `period` in seconds, None for no glances at all."""

    def __init__(self, period: float | None, first_at: float) -> None:
        self._period = period
        self._first_at = first_at
        self._due_at: dict[str, float] = {}
        self._costs: dict[str, float] = {}

    def want(self, families: Collection[str]) -> None:
        """Look at these, as far as they are cheap; at no others."""
        if self._period is not None:
            self._due_at = {name: self._due_at.get(name, self._first_at) for name in CHEAP if name in families}

    def take(self, now: float) -> list[str]:
        """The families that are due at `now` (monotonic seconds); what was missed is skipped."""
        due = [family for family, at in self._due_at.items() if at <= now + _TOGETHER]
        for family in due:
            self._due_at[family] = self._after(now, self._period_of(family))
        return due

    def spent(self, family: str, seconds: float) -> None:
        """A glance took so much processor time."""
        before = self._costs.get(family, seconds)
        self._costs[family] = _LATEST * before + (1 - _LATEST) * seconds

    @property
    def next_at(self) -> float:
        return min(self._due_at.values(), default=math.inf)

    def _period_of(self, family: str) -> float:
        """A whole number of periods, so that one waking serves all."""
        period = self._period or math.inf
        return period * max(1, math.ceil(self._costs.get(family, 0.0) / SHARE / period))

    def _after(self, now: float, period: float) -> float:
        return self._first_at + period * (1 + math.floor((now + _TOGETHER - self._first_at) / period))

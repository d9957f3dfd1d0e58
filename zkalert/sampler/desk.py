"""What becomes of each sample of a host: published, or kept for the history alone.

Comes in: what the rules in force ask of each family, samples, the monotonic time. Goes out: the samples to publish,
with the promise that each carries. It joins the bands of all families, and knows no ZooKeeper.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from zkalert.model import FamilyLimits, Sample
from zkalert.sampler.band import Band, max_age
from zkalert.sampler.glances import Glances

CALM = 1.0
"""Seconds between two samples of one family beside its ticks: who trembles on a limit does not flood anybody."""


class Desk:
    """The bands of all families. `intervals` are their cadences, `resting` the longest silence (None: every sample is
    published), `fast` the period of glances (None: none); all in seconds. `first_at` is when (monotonic) it begins.
    """

    def __init__(
        self, intervals: Mapping[str, float], *, resting: float | None, fast: float | None, first_at: float
    ) -> None:
        self._bands = {
            family: Band(family, interval=interval, resting=resting, origin=first_at)
            for family, interval in intervals.items()
        }
        self._asked: Mapping[str, FamilyLimits] = {}
        self._glances = Glances(fast, first_at)
        self._glanced_at: dict[str, float] = {}

    def heed(self, asked: Mapping[str, FamilyLimits]) -> None:
        """Go by what rules ask now; of a family that is not in it nobody knows, so it is published whole."""
        if asked is self._asked:
            return
        for family, band in self._bands.items():
            if asked.get(family) != self._asked.get(family):
                band.ask(asked.get(family))
        self._asked = asked
        self._glances.want([family for family, limits in asked.items() if limits.limits])

    def weigh(self, samples: Iterable[Sample], now: float) -> list[Sample]:
        """Those of the samples of one moment that are due, as they are to be published; else they are to be doubted."""
        due = []
        for sample in samples:
            choice = self._bands[sample.family].weigh(sample, now)
            if choice.is_due:
                interval = choice.interval
                due.append(replace(sample, interval=interval, max_age=max_age(interval), before=choice.before))
        return due

    def doubt(self, families: Iterable[str] | None = None) -> None:
        """What was published last of these (None: of all) may not stand in the tree."""
        for family in self._bands if families is None else families:
            self._bands[family].doubt()

    # Between the ticks.

    def glances(self, now: float) -> list[str]:
        """The families to be looked at between their ticks, now."""
        return self._glances.take(now)

    def spent(self, family: str, cost: float) -> None:
        """A glance, with all that was made of it, took `cost` seconds of processor time."""
        self._glances.spent(family, cost)

    def is_news(self, sample: Sample, now: float) -> bool:
        """Whether a glance shows a crossing that has to be told now."""
        family = sample.family
        if now < self._glanced_at.get(family, -math.inf) + CALM or not self._bands[family].crosses(sample):
            return False
        self._glanced_at[family] = now
        return True

    @property
    def next_glance_at(self) -> float:
        return self._glances.next_at

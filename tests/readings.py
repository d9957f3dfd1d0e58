"""What tests of the sampler share: readings that have to be there, and which families this machine has."""

from __future__ import annotations

import time
from functools import cache

from zkalert.metrics import SAMPLED
from zkalert.sampler import Collector
from zkalert.sampler.reading import Reading


def found(reading: Reading | None) -> Reading:
    """The reading, where there is one, and nothing stood in its way."""
    assert reading is not None
    assert reading.errors == ()
    return reading


@cache
def families_here() -> frozenset[str]:
    """The families that a sampler without a configuration publishes on this machine."""
    collector = Collector(time.monotonic())
    return frozenset(name for name in SAMPLED if collector.read(name, time.monotonic()) is not None)

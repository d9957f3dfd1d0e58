"""The sampler: what this host's metrics are, published to ZooKeeper.

Comes in: this host. Goes out: one transaction per tick with a sample of each family that is due, and an ephemeral
that says who speaks for the host. It knows nothing of rules, and hands each tick's samples to whoever keeps them.

`collect` and the modules beside it read, `reading` bounds what was read, `presence` claims the host's name, `publish`
writes, and `tick` joins them.
"""

from __future__ import annotations

from zkalert.sampler.collect import Collector, Reader
from zkalert.sampler.presence import machine_id
from zkalert.sampler.tick import Sampler

__all__ = ["Collector", "Reader", "Sampler", "machine_id"]

"""What was read of a live tree, once: frozen, and the same for everybody who asks it something."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from zkalert.model import Alert, HostInfo, OutboxEntry, Problem, Sample


class Published(NamedTuple):
    """What a family's znode held, and when that was written (epoch seconds of the ensemble's clock)."""

    sample: Sample | Problem
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSeen:
    """One host: `samples` has what it said by family, oldest first, of those families that were asked for.

    `remembered` are the families of which earlier samples came out of its own local history.
    """

    info: HostInfo
    is_alive: bool = False
    samples: Mapping[str, tuple[Published, ...]] = field(default_factory=dict)
    remembered: frozenset[str] = frozenset()

    def newest(self, family: str) -> Published | None:
        """What it said last, None where it does not publish the family."""
        published = self.samples.get(family)
        return published[-1] if published else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A tree as it was `at` a moment, by the ensemble's clock as far as a reader can know it.

    `alerts` are the records of the rules that were asked for, `entries` all of the outbox, `dead` what of it could not
    be delivered. `engines` are the live ones; `is_owned` says that one of them evaluates, `watched_at` until when one
    said that it did.
    """

    at: float
    hosts: Mapping[str, HostSeen]
    alerts: tuple[Alert, ...] = ()
    entries: tuple[OutboxEntry, ...] = ()
    dead: tuple[OutboxEntry, ...] = ()
    engines: tuple[str, ...] = ()
    is_owned: bool = False
    watched_at: float | None = None

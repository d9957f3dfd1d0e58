"""What samplers say of hosts, and how the engine saw it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from zkalert.model.base import EMPTY, Value


class Moment(NamedTuple):
    """One instant on two clocks: `at`, epoch seconds of the ensemble; `mono`, seconds of this process's clock."""

    at: float
    mono: float


class Metric(NamedTuple):
    """A family and one of its fields: `memory_usage.percent`, or of a znode `kafka:/brokers/ids#children`."""

    family: str
    field: str

    def __str__(self) -> str:
        return f"{self.family}{'#' if ':' in self.family else '.'}{self.field}"

    @classmethod
    def of(cls, text: str) -> Metric:
        """The metric that `str` made a text of."""
        is_znode = ":/" in text.partition(".")[0]
        family, _, field = text.partition("#" if is_znode else ".")
        return cls(family, field)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What the counters of a family showed at the reading before, `span` seconds earlier."""

    span: float
    values: Mapping[str, float] = field(default_factory=dict)
    instances: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a sampler read of one family at one moment.

    `at` is the sampler's own clock, for the history; rules go by the znode's time instead. `interval` is the span
    to the next sample, `max_age` how long this one speaks at most, both in seconds. `changed` names the only instances
    that it says something new of, gone ones among them; None: it may be any. `before` is there where the reading before
    may not have been published: rates are taken since that, not since the last sample.
    """

    family: str
    at: float
    interval: float
    max_age: float
    values: Mapping[str, Value] = field(default_factory=dict)
    instances: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    errors: tuple[str, ...] = ()
    changed: frozenset[str] | None = None
    before: Counts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostInfo:
    """What a host says of itself in `hosts/<host>`; `machine` is the one that publishes under its name.

    An ensemble, whose znodes and members rules watch, stands in the place of a host: `is_ensemble`.
    """

    name: str
    labels: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    platform: str = ""
    version: str = ""
    machine: str = ""
    is_ensemble: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What an engine says of itself; `rules` is the digest of the rule set that it runs."""

    host: str
    pid: int
    version: str = ""
    rules: str = ""

    @property
    def name(self) -> str:
        """How to name it to people: `web1 (pid 4711)`."""
        return f"{self.host} (pid {self.pid})"


class Seen(NamedTuple):
    """Until when (epoch seconds) the owner of a shard watched it, and the digest of the rule set that it ran."""

    at: float
    rules: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """The ephemeral of a sampler: which machine and process speaks for a host."""

    machine: str
    pid: int
    started_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One good sample as the engine saw it: `now` is the znode's mtime and the monotonic time of its arrival."""

    host: str
    sample: Sample
    now: Moment

"""What an engine shows of itself: one frozen picture, made by the evaluator, read by anybody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from zkalert.model import Alert, Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStatus:
    """A host, whether its sampler lives, and its last samples by family."""

    name: str
    is_alive: bool
    samples: Mapping[str, Observation]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One moment of an engine; `now` is the ensemble's time, `mono` this process's clock.

    `waits_for` names the engine that owns the tree, while this one waits. `orphans` are alerts whose rule this
    engine does not have. `problems` counts samples that cannot be used, by the code of what is wrong. `znodes` are
    those that rules look at; of them `unusable` may not be read, or are not as the rules have them. `unreached` names
    the other ensembles that rules look at and that are not connected.
    """

    now: float
    mono: float
    is_connected: bool
    is_owner: bool
    waits_for: str = ""
    rules: int
    hosts: tuple[HostStatus, ...] = ()
    alerts: tuple[Alert, ...] = ()
    orphans: tuple[Alert, ...] = ()
    watches: int = 0
    samples: int = 0
    problems: Mapping[str, int] = field(default_factory=dict)
    znodes: int = 0
    unusable: int = 0
    unreached: tuple[str, ...] = ()

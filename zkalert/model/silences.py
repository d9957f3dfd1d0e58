"""What people say of alerts: silences keep messages quiet for a while, acknowledgements stop reminders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from zkalert.model.base import EMPTY
from zkalert.model.rulewords import Severity

FOR_GOOD = 221845392000.0
"""The end of what ends when it is taken back: the year 9000, which calendars still know."""

MAX_SPAN = 366 * 86400.0
"""Seconds that a silence that recurs is on from each of its moments, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Messages of the alerts that match in everything are withheld from `starts_at` until just before `ends_at`.

    `rule`, `host`, `instance` and the values of `labels` are globs; an alert without an instance matches `*` alone. A
    label matches if it is one of the rule, the host or the instance. With `cron` (five fields, in the time of
    `timezone`) it is on only for `span` seconds from each moment that this names, between `starts_at` and `ends_at`.
    `is_hold` says that a command keeps it alive.
    """

    id: str
    rule: str = "*"
    host: str = "*"
    instance: str = "*"
    severities: frozenset[Severity] = frozenset(Severity)
    labels: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    starts_at: float
    ends_at: float
    cron: str = ""
    timezone: str = "UTC"
    span: float = 0.0
    comment: str = ""
    author: str = ""
    is_hold: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """Somebody has seen an alert (of this `episode`): no reminders and no escalation until `ends_at`, or its end.

    `ends_at` None: for as long as it fires. `rises` is how often the alert had risen to a higher level by then: once it
    rises again, it is more than what somebody has seen.
    """

    episode: str
    at: float
    ends_at: float | None = None
    rises: int = 0
    author: str = ""
    comment: str = ""

    def holds(self, at: float) -> bool:
        """Whether it counts at a moment."""
        return self.ends_at is None or at < self.ends_at

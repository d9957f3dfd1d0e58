"""The state of a series under a rule, what a look at it says, and what has to be told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from zkalert.model.base import EMPTY, Value
from zkalert.model.rulewords import Comparator, Severity, Threshold
from zkalert.model.samples import Metric
from zkalert.model.silences import Ack


class State(str, Enum):
    """Where an alert, or one step of its ladder, stands.

    INACTIVE: the last good sample said no, or none has been seen. No record exists in ZooKeeper.
    PENDING: good samples have said yes for part of `duration`. Nobody has been told. After a gap the alert goes
    on from what it had held.
    FIRING: the condition held for `duration`; the effect that tells so is in the outbox. It stays firing through
    any quiet (host gone, sampler stuck, metric gone, engine blind): only a good sample ends it.
    CLEARING: it fires, and good samples have said for part of `clear_duration` that it is over.
    RESOLVED: a good sample said no, or the instance was seen to be gone. The last state of an episode: the record
    is deleted by the very write that adds the effect which tells so, and the series is inactive again.
    """

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"
    CLEARING = "clearing"
    RESOLVED = "resolved"

    @property
    def is_active(self) -> bool:
        """Whether people have been told of it and not yet of its end."""
        return self is State.FIRING or self is State.CLEARING


class Phase(str, Enum):
    """What an effect tells of its episode."""

    FIRING = "firing"
    ESCALATED = "escalated"
    REPEATED = "repeated"
    RESOLVED = "resolved"
    CLOSED = "closed"


class Reason(str, Enum):
    """Why a transition happened; logs and messages use these words."""

    CROSSED = "threshold crossed"
    HELD = "held for its duration"
    ROSE = "a higher level was reached"
    NO_DATA = "no data"
    STILL = "still firing"
    UNHEARD = "still firing without an acknowledgement"
    BRAKED = "a command was held by its brake"
    CLEARED = "back below the threshold"
    DATA_BACK = "data is back"
    GONE = "instance gone"
    HOST_REMOVED = "host removed"
    RULE_CHANGED = "rule changed"
    RULE_REMOVED = "rule removed"


class Outcome(str, Enum):
    """What one look at a series says."""

    TRUE = "true"  # the threshold is crossed
    BETWEEN = "between"  # not crossed, and not past the value that clears it
    FALSE = "false"
    ELAPSED = "elapsed"  # a timer says that it is time for a look without a sample
    MISSING = "missing"  # a good sample of the family came without this instance
    QUIET = "quiet"  # no good sample has come for as long as the rule allows


class Verdict(NamedTuple):
    """The outcome of a look, the value it saw, and how long the sample speaks (`cover`, seconds).

    Of a ladder, `marks` has the outcome of each step; `outcome` is TRUE where one of them is, else that of the lowest.
    `condition` is the index of the one that `value` belongs to, `values` has those of all where there are several.
    `members` says of a number over many how many series are in it, and of how many hosts there is nothing.
    """

    outcome: Outcome
    value: Value | None = None
    cover: float = 0.0
    marks: tuple[Outcome, ...] = ()
    condition: int = 0
    values: tuple[Value | None, ...] = ()
    members: tuple[int, int] | None = None


class Hold(NamedTuple):
    """How long something has held, up to a moment on both clocks.

    `held` seconds were covered by true samples until `at`/`mono`; the sample there speaks for `cover` seconds more,
    0 within a gap. `gaps` counts the spans that no sample covered.
    """

    held: float
    at: float
    mono: float
    cover: float
    gaps: int = 0


class Clock(NamedTuple):
    """One step of a ladder: where it stands, how long its condition held, how long it has been clearing.

    `spans` are the true spans (begin and end, ensemble's epoch seconds) of a rule with `within`, oldest first,
    without the one that `hold` is in.
    """

    state: State = State.INACTIVE
    hold: Hold | None = None
    clearing: Hold | None = None
    spans: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionResult:
    """What came of a command that an alert ran: its name, the phase it ran for, when it ended, how long it took.

    `exit_code` is None where it has none (killed, never started, not known); `detail` is a sentence, `tail` the end of
    its output.
    """

    name: str
    phase: str
    at: float
    seconds: float = 0.0
    exit_code: int | None = None
    detail: str = ""
    tail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """The state of one series under one rule, from leaving inactive until it is inactive again.

    `clocks` has one entry for each step of the rule. `severity` is that of the highest step that fires; `metric` to
    `clear` are those of the condition and step that `value` was held against. `since` is when the condition became
    true, `peak` the worst value seen, `told` the severities that messages went out for. `repeat_at` and `escalate_at`
    are when the next of them is due; `repeats`, `escalations` and `rises` count them. `is_quiet` says that it fires
    for want of data. `ack` is the acknowledgement that it has, `heard` the ids of the targets that hear of its end,
    `actions` the last commands that ran for it. `writer` is the stamp of the write that stored it. `missing` measures
    how long good samples have come without the alert's instance; a restart forgets it.
    """

    rule: str
    host: str
    instance: str | None = None
    state: State = State.INACTIVE
    episode: str = ""
    digest: str = ""
    severity: Severity = Severity.WARNING
    metric: Metric
    subject: str = ""
    unit: str = "number"
    comparator: Comparator
    threshold: Threshold = None
    clear: Threshold = None
    value: Value | None = None
    values: tuple[Value | None, ...] = ()
    members: tuple[int, int] | None = None
    peak: Value | None = None
    since: float = 0.0
    fired_at: float | None = None
    resolved_at: float | None = None
    clocks: tuple[Clock, ...] = ()
    told: tuple[Severity, ...] = ()
    rises: int = 0
    repeats: int = 0
    repeat_at: float | None = None
    escalations: int = 0
    escalate_at: float | None = None
    is_quiet: bool = False
    missing: Hold | None = None
    ack: Ack | None = None
    heard: tuple[str, ...] = ()
    actions: tuple[ActionResult, ...] = ()
    writer: str = ""

    @property
    def id(self) -> str:
        """The six hex digits that people see and type."""
        return self.episode[:6]

    @property
    def hold(self) -> Hold | None:
        """How long it has held: that of the highest step that fires, else of the first that is on its way."""
        holds = [clock for clock in self.clocks if clock.hold is not None]
        active = [clock for clock in holds if clock.state.is_active]
        return active[-1].hold if active else holds[0].hold if holds else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Something that has to be told or done: one phase of one episode, with all that its message needs.

    `name` tells phases of one kind apart (`repeated-2`, `escalated-critical`); without it the phase's own word does.
    `escalation` is the index of the rule's escalation that an ESCALATED effect belongs to, None for a higher level.
    `readings` has what the metrics in `Rule.reads` said on the alert's host (and instance) at that moment. `note` is a
    sentence that belongs into the message; `is_drill` marks what nothing has happened for.
    """

    alert: Alert
    phase: Phase
    reason: Reason
    at: float
    name: str = ""
    escalation: int | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    host_labels: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    instance_labels: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    readings: Mapping[str, Value] = field(default_factory=dict)
    summary: str = ""
    description: str = ""
    runbook: str = ""
    note: str = ""
    is_drill: bool = False

    @property
    def id(self) -> str:
        """The name of its outbox znode: `<episode>.<phase>`."""
        return f"{self.alert.episode}.{self.name or self.phase.value}"

    @property
    def key(self) -> str:
        """What every message carries: `rule/series/episode/phase`."""
        alert = self.alert
        series = alert.host if alert.instance is None else f"{alert.host},{alert.instance}"
        return f"{alert.rule}/{series}/{alert.episode}/{self.name or self.phase.value}"

"""What a rule says, as the engine runs it: conditions, a ladder of steps, who is looked at, who hears of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from zkalert.model.alerts import Phase
from zkalert.model.base import EMPTY
from zkalert.model.rulewords import Comparator, Severity, Threshold
from zkalert.model.samples import Metric

MEMBERS_HOST = "-"
"""The host of an alert over many hosts, as it stands in znodes and messages."""


class Stat(str, Enum):
    """What is taken of a window of samples."""

    LAST = "last"
    AVG = "avg"
    MIN = "min"
    MAX = "max"
    SUM = "sum"
    COUNT = "count"
    STDDEV = "stddev"
    PERCENTILE = "percentile"
    RATE = "rate"
    DELTA = "delta"
    CHANGES = "changes"
    TIME_TO = "time_to"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A statistic over the last `over` seconds.

    `parameter` is the percentile (50 to 99), or the value that `time_to` reaches for.
    """

    over: float
    stat: Stat
    parameter: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A number taken of one metric: its last value (of a counter: the rate between its last two), or a window's."""

    metric: Metric
    window: Window | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One comparison: a term, perhaps divided by another one, held against a threshold.

    `threshold` is a number in `unit`, a pair of them (between, outside: ends included in between), a text (== != of
    a text metric, a regular expression for matches) or None (absent, changed). A condition that has crossed holds
    until the value reaches `clear`; without it until it is no longer crossed. `unit` names the unit of the number
    that is judged (a member of metrics.Unit), `subject` is how people read it.
    """

    term: Term
    relative_to: Term | None = None
    comparator: Comparator
    threshold: Threshold = None
    clear: Threshold = None
    unit: str = "number"
    subject: str = ""

    @property
    def metric(self) -> Metric:
        return self.term.metric

    @property
    def terms(self) -> tuple[Term, ...]:
        """What it takes its number of: one term, or two that are divided."""
        return (self.term,) if self.relative_to is None else (self.term, self.relative_to)


class Join(str, Enum):
    """How several conditions make one."""

    ALL = "all"
    ANY = "any"


class Of(str, Enum):
    """What an alert over many series spans: all hosts, or the instances of one host."""

    HOSTS = "hosts"
    INSTANCES = "instances"


class Total(str, Enum):
    """The number that is made of many series."""

    SUM = "sum"
    AVG = "avg"
    MIN = "min"
    MAX = "max"
    COUNT = "count"
    PERCENT = "percent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Across:
    """One alert over many series; `by` makes one for each value of that host label.

    `comparator` and `threshold` (`where`) say which members count; without them all do.
    """

    of: Of
    stat: Total
    by: str | None = None
    comparator: Comparator | None = None
    threshold: Threshold = None


class Quiet(str, Enum):
    """What becomes of an alert when no sample comes: nothing, it fires, it resolves."""

    KEEP = "keep"
    ALERT = "alert"
    RESOLVE = "resolve"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoData:
    """`after` in seconds, None for the greater of 60 and three intervals of the last sample."""

    after: float | None = None
    then: Quiet = Quiet.KEEP


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMatch:
    """Hosts by a glob on the name, or by labels that must all be equal."""

    glob: str | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: EMPTY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """Tell a channel, or one literal URL.

    Exactly one of `channel` and `url` is set.
    """

    channel: str | None = None
    url: str | None = field(default=None, repr=False)
    at: frozenset[Phase] = frozenset(Phase)


class Where(str, Enum):
    """Where a command runs: beside the engine, or by the sampler of the alert's host."""

    ENGINE = "engine"
    HOST = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Brake:
    """A limit on commands over all hosts of the cluster: `at_once` of them run, `most` in any `per` seconds.

    All rules that name one `group` share it; without one it is the rule's own. What it stops is told to `then` (None:
    to those who hear of the alert).
    """

    at_once: int = 1
    per: float = 3600.0
    most: int = 3
    group: str = ""
    then: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Run a command: an argument vector, or a line for `/bin/sh -c`. `timeout` in seconds.

    With `where` HOST, `command` is the name of an action that the host's own configuration has. `user` runs it as
    somebody else, `cwd` elsewhere than beside the configuration; `umask` None leaves that as it is; `is_clean` gives it
    no variables but its own and `PATH`, `HOME`, `LANG`.
    """

    command: tuple[str, ...] | str
    timeout: float = 30.0
    at: frozenset[Phase] = frozenset({Phase.FIRING})
    where: Where = Where.ENGINE
    brake: Brake | None = None
    user: str | None = None
    cwd: str | None = None
    umask: int | None = None
    is_clean: bool = False


Action: TypeAlias = Notify | Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One rung of the ladder: a severity with its own threshold and its own clocks, in seconds.

    `threshold` and `clear` are None where the conditions bring their own (all, any). `actions` None means those of
    the rule.
    """

    severity: Severity = Severity.WARNING
    threshold: Threshold = None
    clear: Threshold = None
    duration: float = 0.0
    clear_duration: float = 0.0
    actions: tuple[Action, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Other limits for some series: what is not None takes the place of the rule's own."""

    hosts: tuple[HostMatch, ...] = ()
    instances: tuple[str, ...] | None = None
    severity: Severity | None = None
    threshold: Threshold = None
    clear: Threshold = None
    duration: float | None = None
    clear_duration: float | None = None
    actions: tuple[Action, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalation:
    """Further actions once an alert has fired for `after` seconds."""

    after: float
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flap:
    """An alert that changes this often within so many seconds flaps."""

    changes: int
    within: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a rule is on: days (0 is Monday) and spans of the day in seconds, in the time of a zone.

    A span whose end is not after its start goes on into the next day, and belongs to the day it starts on. No spans:
    the whole day.
    """

    days: frozenset[int] = frozenset(range(7))
    hours: tuple[tuple[float, float], ...] = ()
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule as the engine runs it.

    Several `conditions` are joined; one alone is judged by each of the `steps`, lowest severity first. `within`
    (seconds) makes the duration a sum over that span. `actions` is None where the rule names none: then the default
    channels hear it. `instances` None means the family's whole value if it has one, else each instance; a tuple of
    globs means each instance that matches. `repeat` are the spans between reminders, the last one over and over.
    `reads` are further metrics that its texts show. `digest` covers what the condition is, so that another wording
    keeps the state. `source` is `file:line`.
    """

    name: str
    conditions: tuple[Condition, ...]
    join: Join = Join.ALL
    steps: tuple[Step, ...] = (Step(),)
    within: float | None = None
    across: Across | None = None
    actions: tuple[Action, ...] | None = None
    hosts: tuple[HostMatch, ...] = ()
    not_hosts: tuple[HostMatch, ...] = ()
    instances: tuple[str, ...] | None = None
    not_instances: tuple[str, ...] = ()
    no_data: NoData = NoData()
    keeps_gone: bool = False
    overrides: tuple[Override, ...] = ()
    repeat: tuple[float, ...] = ()
    escalate: tuple[Escalation, ...] = ()
    flap: Flap | None = None
    schedule: Schedule | None = None
    inhibited_by: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    summary: str = ""
    description: str = ""
    runbook: str = ""
    reads: tuple[Metric, ...] = ()
    enabled: bool = True
    digest: str = ""
    source: str = ""

    @property
    def metric(self) -> Metric:
        """The metric of the first condition."""
        return self.conditions[0].term.metric

    @property
    def severity(self) -> Severity:
        """The lowest severity that it can have."""
        return self.steps[0].severity
